#!perl

# Answers vectors, a line of JSON each, as the Perl verifier does: a line of JSON each. It runs with the
# distribution's lib and t/lib in its path.

use 5.016;
use strict;
use warnings;

use JSON::PP     ();
use MIME::Base64 qw(encode_base64);

use CPAN::TLog::Error;
use Vectors;

binmode STDIN;
binmode STDOUT;
STDOUT->autoflush(1);
my $json = JSON::PP->new->utf8;
while (my $line = <STDIN>) {
    my $vector = $json->decode($line);
    if ($vector->{kind} eq 'trees') {
        Vectors::share($vector);
        next;
    }
    my %answer;
    if (!eval { %answer = answer(Vectors::read_vector($vector)); 1 }) {
        my $error = CPAN::TLog::Error->caught($@);
        %answer = (error => $error->message, kind => $error->kind);
    }
    print $json->encode(\%answer), "\n";
}

sub answer {
    my ($vector) = @_;
    local $SIG{__WARN__} = sub { die "warning: $_[0]" };
    my ($word, $result, $remembered) = Vectors::ask($vector);
    return (word => $word) if !$result;
    my ($failed) = map { $_->{name} } grep { !$_->{ok} } $result->checks;
    return (
        word       => $word,
        failed     => $failed // q{},
        evidence   => encode_base64($result->evidence ? $result->evidence->text : q{}, q{}),
        remembered => encode_base64($remembered // q{}, q{}),
    );
}
