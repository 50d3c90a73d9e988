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
use CPAN::TLog::Memory;
use CPAN::TLog::Pack;
use CPAN::TLog::Policy;
use CPAN::TLog::Search;
use CPAN::TLog::Source::Tree;
use CPAN::TLog::Verify;

my (@vectors, %policies, %trees);

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
        if ($vector->{kind} =~ /\A(?:policies|trees)\z/) {
            share($vector);
            next;
        }
        push @vectors, read_vector($vector);
    }
    return;
}

# share takes what later vectors name: policies and proof trees.
sub share {
    my ($vector) = @_;
    $policies{$_} = bytes($vector->{policies}{$_}) for keys %{ $vector->{policies} };
    for my $name (keys %{ $vector->{trees} }) {
        my $files = $vector->{trees}{$name};
        $trees{$name} = { map { $_ => bytes($files->{$_}) } keys %{$files} };
    }
    return;
}

# files returns the files of a proof tree by its name.
sub files {
    my ($name) = @_;
    load() if !@vectors;
    return $trees{$name};
}

# read_vector turns the values of a vector, as JSON has them, into bytes.
sub read_vector {
    my ($vector) = @_;
    $vector->{$_} = bytes($vector->{$_})
        for grep { exists $vector->{$_} } qw(name message policy note path file bundle revocation deletion pack);
    $vector->{$_}     = decode_base64($vector->{$_} // q{}) for qw(root public signed signature);
    $vector->{policy} = $policies{$1} if ($vector->{policy} // q{}) =~ /\A\@(.*)\z/s;
    $vector->{known}  = [map { bytes($_) } @{ $vector->{known} || [] }];
    $vector->{change} = { map { $_ => bytes($vector->{change}{$_}) } keys %{ $vector->{change} || {} } };
    return $vector;
}

sub bytes {
    my ($value) = @_;
    return decode_base64($value->{base64}) if ref $value;
    utf8::encode($value)                   if defined $value;
    return $value;
}

# A Vectors::Files is the files of a proof tree in memory, and a Vectors::Memory what is remembered, with all that
# CPAN::TLog::Memory does but for the disk.
{

    package Vectors::Files;
    sub new  { my ($class, %files) = @_; return bless {%files}, $class }
    sub name { return 'tree' }

    sub get {
        my ($self, $name, $limit) = @_;
        CPAN::TLog::Error->throw(invalid => '%s is too large', $name) if length($self->{$name} // q{}) > $limit;
        return $self->{$name};
    }

    package Vectors::Memory;
    our @ISA = ('CPAN::TLog::Memory');
    sub new  { my ($class, $note) = @_; return bless { note => $note }, $class }

    sub load {
        my ($self, $origin) = @_;
        return defined $self->{note} ? CPAN::TLog::Memory::checked($origin, 'memory', $self->{note}) : undef;
    }
    sub save { my ($self, $origin, $old, $note) = @_; $self->{note} = $note; return 1 }

    package Vectors::Said;
    sub new        { my ($class, %said) = @_; return bless {%said}, $class }
    sub name       { return 'said' }
    sub needs_path { return 1 }
    sub fetch      { return %{ $_[0] } }
}

# search asks a source, and one that has nothing besides.
sub search {
    my ($vector, $source, $memory) = @_;
    my $file   = $vector->{file} // q{};
    my $result = eval { CPAN::TLog::Search->verify(
        [$source, Vectors::Said->new(absence_detail => 'nothing')],
        policy => policy($vector), memory => $memory, sha256 => sha256_hex($file), size => length $file,
        map { $_ => $vector->{$_} } qw(path now),
    ) } || CPAN::TLog::Result->failed(CPAN::TLog::Error->caught($@)->message);
    return ($result->outcome, $result, $memory ? $memory->{note} : undef);
}

# Parsing a policy checks its keys, which takes longer than all else with Math::BigInt.
my %parsed;

sub policy {
    my ($vector) = @_;
    %parsed = () if keys %parsed > 200;
    my $text = $vector->{policy} // q{};
    return $vector->{parsed} || ($parsed{$text} ||= CPAN::TLog::Policy->parse($text));
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
        my $policy = policy($vector);
        my $opened = eval { $policy->open($vector->{note} // q{}) };
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
    if ($kind eq 'tree') {
        my $files  = Vectors::Files->new(%{ $trees{ $vector->{files} } }, %{ $vector->{change} });
        my $memory = Vectors::Memory->new($vector->{known}[0]);
        my $tree   = CPAN::TLog::Source::Tree->new(
            files => $files, policy => policy($vector), memory => $memory, said => $vector->{said});
        return search($vector, $tree, $memory);
    }
    if ($kind eq 'pack') {
        my $pack = eval { CPAN::TLog::Pack->parse($vector->{pack} // q{}) };
        return CPAN::TLog::Error->caught($@)->kind if !$pack;
        my %found = $pack->proofs_of($vector->{path} // q{}, sha256_hex($vector->{file} // q{}));
        return search($vector, Vectors::Said->new(%found ? %found : (absence_detail => 'nothing')));
    }
    die "unknown kind $kind\n";
}

# refused is 'invalid' if it was refused for what it is, and not because something here is broken.
sub refused {
    my ($error, $kind) = @_;
    $error = CPAN::TLog::Error->caught($error);
    return $error->kind eq $kind ? 'invalid' : "$error";
}

1;
