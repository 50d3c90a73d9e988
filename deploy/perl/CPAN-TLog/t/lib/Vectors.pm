package Vectors;

# The vectors that the Go verifier's tests pass too: t/vectors.jsonl, a line each.

use 5.016;
use strict;
use warnings;

use Digest::SHA    qw(sha256_hex);
use File::Basename qw(dirname);
use File::Spec;
use JSON::PP     ();
use MIME::Base64 qw(decode_base64);

use CPAN::TLog::Bundle;
use CPAN::TLog::Ed25519;
use CPAN::TLog::Error;
use CPAN::TLog::Policy;
use CPAN::TLog::Verify;

my (@vectors, %policies);

# of_kind returns all vectors of a kind.
sub of_kind {
    my ($kind) = @_;
    load() if !@vectors;
    return grep { $_->{kind} eq $kind } @vectors;
}

sub load {
    my $file = File::Spec->catfile(dirname(__FILE__), File::Spec->updir, 'vectors.jsonl');
    open my $in, '<:raw', $file or die "$file: $!\n";
    my $json = JSON::PP->new->utf8;
    while (my $line = <$in>) {
        my $vector = $json->decode($line);
        if ($vector->{kind} eq 'policies') {
            %policies = map { $_ => bytes($vector->{policies}{$_}) } keys %{ $vector->{policies} };
            next;
        }
        $vector->{$_} = bytes($vector->{$_})
            for grep { exists $vector->{$_} } qw(name message policy note path file bundle revocation deletion);
        $vector->{$_}     = decode_base64($vector->{$_} // q{}) for qw(root public signed signature);
        $vector->{policy} = $policies{$1} if ($vector->{policy} // q{}) =~ /\A\@(.*)\z/s;
        $vector->{known}  = [map { bytes($_) } @{ $vector->{known} || [] }];
        push @vectors, $vector;
    }
    return;
}

sub bytes {
    my ($value) = @_;
    return decode_base64($value->{base64}) if ref $value;
    utf8::encode($value)                   if defined $value;
    return $value;
}

# Parsing a policy checks its keys, which takes longer than all else with Math::BigInt.
my %parsed;

sub policy {
    my ($vector) = @_;
    return $vector->{parsed} || ($parsed{ $vector->{policy} } ||= CPAN::TLog::Policy->parse($vector->{policy}));
}

# ask returns what the Perl verifier says to a vector, and of a whole verification the result.
sub ask {
    my ($vector) = @_;
    my $kind = $vector->{kind};
    if ($kind eq 'verify') {
        my $file   = $vector->{file} // q{};
        my $result = CPAN::TLog::Verify->verify(
            (   map { $_ => $vector->{$_} }
                    qw(path any_path bundle absence revocation deletion known now max_age max_index_age)
            ),
            policy => policy($vector),
            sha256 => sha256_hex($file),
            size   => length $file,
        );
        return ($result->outcome, $result);
    }
    if ($kind eq 'policy') {
        return eval { CPAN::TLog::Policy->parse($vector->{policy} // q{}) } ? 'valid' : refused($@, 'policy');
    }
    if ($kind eq 'note') {
        my $opened = eval { policy($vector)->open($vector->{note} // q{}) };
        return CPAN::TLog::Error->caught($@)->kind if !$opened;
        return 'unknown'                           if !$opened->is_signed;
        return { met => 'ok', unmet => 'quorum', unknown => 'unknown' }->{ $opened->quorum };
    }
    if ($kind eq 'inclusion') {
        my $bundle = CPAN::TLog::Bundle->parse($vector->{bundle});
        return eval { $bundle->verify($vector->{size}, $vector->{root}) } ? 'valid' : refused($@, 'proof');
    }
    return CPAN::TLog::Ed25519::verify(@{$vector}{qw(public signed signature)}) ? 'valid' : 'invalid'
        if $kind eq 'ed25519';
    die "unknown kind $kind\n";
}

# refused is 'invalid' if it was refused for what it is, and not because something here is broken.
sub refused {
    my ($error, $kind) = @_;
    $error = CPAN::TLog::Error->caught($error);
    return $error->kind eq $kind ? 'invalid' : "$error";
}

1;
