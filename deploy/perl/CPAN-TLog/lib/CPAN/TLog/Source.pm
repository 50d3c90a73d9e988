package CPAN::TLog::Source;

use 5.016;
use strict;
use warnings;

use File::Basename qw(basename);
use File::Spec;
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);

use CPAN::TLog;
use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(fits_63_bits plain);
use CPAN::TLog::Error;
use CPAN::TLog::File qw(read_bounded);

our $VERSION = '0.001';

my $EXTENSION = $CPAN::TLog::Bundle::EXTENSION;
my $MAX_SIZE  = $CPAN::TLog::Bundle::MAX_SIZE;
my $TIMEOUT   = 20;

# A source is asked with fetch, which returns what CPAN::TLog::Verify takes: a bundle, or why there is none. It never
# dies, because the next source may do better.

# local_files is a folder of proofs, below their paths or by their names, or one file.
sub local_files {
    my ($class, $place) = @_;
    return bless { name => $place, ask => sub {
        my ($path) = @_;
        my @files = $place;
        @files = map { File::Spec->catfile($place, split m{/}, $_) } "$path$EXTENSION", basename($path) . $EXTENSION
            if -d $place;
        for my $file (grep { -e } @files) {
            return (bundle => read_bounded($file, $MAX_SIZE + 1));
        }
        return (absence_detail => "there is no proof in $place");
    } }, $class;
}

# mirror has proofs beside its files.
sub mirror {
    my ($class, $url) = @_;
    $url =~ s{/*\z}{/};
    return bless { name => $url, ask => sub {
        my ($path) = @_;
        if ($url =~ m{\Afile://(?:localhost)?(/.*)\z}ais) {
            (my $folder = $1) =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
            my $file = File::Spec->catfile($folder, split m{/}, "$path$EXTENSION");
            return (bundle => read_bounded($file, $MAX_SIZE + 1)) if -e $file;
            return (absence_detail => "there is no $file");
        }
        my ($body, $why) = get($url . escaped("$path$EXTENSION"), max_redirect => 5);
        return defined $body ? (bundle => $body) : (absence_detail => $why);
    } }, $class;
}

# log is the log itself. Its word that a path is not logged counts if nobody on the way could have said it instead:
# over TLS or on this machine, and if the policy names hosts, from one of them.
sub log { ## no critic (ProhibitBuiltinHomonyms)
    my ($class, $url, $policy) = @_;
    $url =~ s{/+\z}{};
    my ($scheme, $host) = parts($url);
    CPAN::TLog::Error->throw('local', 'expected the URL of a log, https://..., found %s', $url) if !defined $host;
    my @named   = grep { defined } map { (parts($_->{url} // q{}))[1] } $policy->logs;
    my $here    = $host =~ /\A(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])\z/a;
    my $trusted = $here || ($scheme eq 'https' && (!@named || grep { $_ eq $host } @named));
    return bless { name => $url, ask => sub { ask_log($url, $trusted, @_) } }, $class;
}

sub parts {
    my ($url) = @_;
    my ($scheme, $host) = $url =~ m{\A([a-z]+)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]+)?(?:/|\z)}a;
    return defined $host ? ($scheme, lc $host) : ();
}

sub ask_log {
    my ($url, $trusted, $path) = @_;
    my ($body, $why) = get("$url/proof/" . escaped("$path$EXTENSION"));
    return (bundle => $body) if defined $body;

    # The page says in words why there is no proof, the interface also in a word for programs.
    my $error = inclusion_proof($url, path => $path)->{error};
    return (absence_detail => $why) if ref $error ne 'HASH';
    my ($reason, $message) = map { ref $_ || !defined $_ ? q{} : encoded($_) } @{$error}{qw(reason message)};
    my $detail = sprintf '%s says: %s', $url, plain($message);
    return voided($url, $error->{metadata}, $detail) if $reason eq 'voided';
    return (absence_detail => $detail) if $reason !~ /\A(?:not-logged|pending)\z/a;
    return (absence => $reason, absence_detail => $detail) if $trusted;
    return (absence_detail => "$detail, which counts only from the policy's log itself, over TLS or on this machine");
}

# voided fetches the void and what it voids: both are needed to tell the user.
sub voided {
    my ($url, $metadata, $detail) = @_;
    my %found;
    for my $of ([bundle => 'upload_index'], [revocation => 'void_index']) {
        my $index = ref $metadata eq 'HASH' ? $metadata->{$of->[1]} : undef;
        return (absence_detail => $detail) if !defined $index || ref $index || !fits_63_bits($index);
        my $proof  = inclusion_proof($url, index => $index);
        my $bundle = eval {
            CPAN::TLog::Bundle->new(
                entry      => encoded($proof->{entry}),
                index      => $index,
                hashes     => [map { decode_base64($_) } @{$proof->{hashes}}],
                checkpoint => encoded($proof->{checkpoint}),
            );
        };
        return (absence_detail => $detail) if !$bundle;
        $found{$of->[0]} = $bundle->bytes;
    }
    return %found;
}

# inclusion_proof returns the answer of the log's interface, a hash in any case.
sub inclusion_proof {
    my ($url, $by, $value) = @_;
    my $answer = response("$url/pauselog.v1.Log/GetInclusionProof?$by=" . escaped($value));
    my $json   = eval { JSON::PP->new->utf8->decode($answer->{content} // q{}) };
    return ref $json eq 'HASH' ? $json : {};
}

sub encoded {
    my ($text) = @_;
    utf8::encode($text //= q{});
    return $text;
}

sub escaped {
    my ($path) = @_;
    $path =~ s/([^A-Za-z0-9\/._~-])/sprintf '%%%02X', ord $1/ge;
    return $path;
}

# get returns a page, or undef and why there is none.
sub get {
    my ($url, %option) = @_;
    my $answer = response($url, %option);
    return ($answer->{content} // q{}) if $answer->{success} && $answer->{status} eq '200';
    my $why = $answer->{status} eq '599' ? $answer->{content} : "$answer->{status} $answer->{reason}";
    $why =~ s/\s+/ /g;
    return (undef, plain("$url: $why"));
}

sub response {
    my ($url, %option) = @_;
    my $client = HTTP::Tiny->new(
        agent => "CPAN-TLog/$CPAN::TLog::VERSION ", timeout => $TIMEOUT, max_size => $MAX_SIZE, max_redirect => 0,
        verify_SSL => 1, %option,
    );
    return $client->get($url);
}

sub name { return $_[0]{name} }

sub fetch {
    my ($self, $path) = @_;
    my %answer = eval { $self->{ask}->($path) };
    return %answer if %answer;
    return (absence_detail => $self->{name} . ': ' . CPAN::TLog::Error->caught($@)->message);
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Source - where proofs are found

=head1 SYNOPSIS

    my $source = CPAN::TLog::Source->mirror('https://www.cpan.org/');
    my %answer = $source->fetch('authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz');

=head1 DESCRIPTION

A proof is as good from a stranger as from the log: L<CPAN::TLog::Verify> decides. Nothing that is fetched can be
larger than a proof may be. Addresses that begin with C<https> need L<IO::Socket::SSL>.

=head1 METHODS

=head2 local_files($place)

A folder of proofs, F<authors/id/.../FILE.tlog-proof> or F<FILE.tlog-proof> in it, or one file.

=head2 mirror($url)

A CPAN mirror that has F<FILE.tlog-proof> beside its files; C<file:>, C<http:> or C<https:>.

=head2 log($url, $policy)

The log itself.

=head2 fetch($path)

Returns what the verifier takes: C<bundle>, or C<absence> and C<absence_detail>; and C<revocation>. It never dies.

=head2 name

What the source was made of.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
