package CPAN::TLog::Source;

use 5.016;
use strict;
use warnings;

use File::Basename qw(basename);
use File::Spec;
use MIME::Base64 qw(decode_base64);

use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(fits_63_bits plain);
use CPAN::TLog::Error;
use CPAN::TLog::File qw(read_bounded);
use CPAN::TLog::Files;
use CPAN::TLog::HTTP;
use CPAN::TLog::Pack;
use CPAN::TLog::Source::Tree;

our $VERSION = '0.001';

my $EXTENSION = $CPAN::TLog::Bundle::EXTENSION;
my $MAX_SIZE  = $CPAN::TLog::Bundle::MAX_SIZE;

# A source is asked with fetch, which returns what CPAN::TLog::Verify takes: a bundle, or why there is none. It never
# dies, because the next source may do better.

# proofs is what the user says to have: the URL of a proof tree, a folder with one or with single proofs, a pack, or a
# proof. What is none of these is a mistake, and dies.
sub proofs {
    my ($class, $place, %with) = @_;
    if ($place =~ m{://}) {
        my $files = CPAN::TLog::Files->at($place);
        return CPAN::TLog::Source::Tree->new(files => $files, %with);
    }
    CPAN::TLog::Error->throw('local', '%s', "$place: $!") if !-e $place;
    if (-d _) {
        return $class->local_files($place) if !-e File::Spec->catfile($place, 'checkpoint');
        return CPAN::TLog::Source::Tree->new(files => CPAN::TLog::Files->at($place), %with);
    }
    return $class->local_files($place) if !CPAN::TLog::Pack::is_pack(read_bounded($place, 64));
    my $pack = CPAN::TLog::Pack->read_file($place);
    return bless { name => $place, needs_path => 1, ask => sub {
        my ($path, $sha256) = @_;
        my %answer = $pack->proofs_of($path, $sha256);
        return %answer ? %answer : (absence_detail => "there is no proof of $path in $place");
    } }, $class;
}

# tree is the proof tree that a mirror may carry.
sub tree {
    my ($class, $mirror, %with) = @_;
    my $files = CPAN::TLog::Files->at($mirror =~ s{/*\z}{/modules/tlog}r);
    return CPAN::TLog::Source::Tree->new(files => $files, %with);
}

# log_files is the proof tree that the log itself serves, or undef if it is not served as files. Its word that a path is
# not listed counts as the log's.
sub log_files {
    my ($class, $url, %with) = @_;
    return if !defined $url || $url !~ m{\Ahttps?://}a;
    return CPAN::TLog::Source::Tree->new(
        files => CPAN::TLog::Files->at($url), said => is_the_logs($url, $with{policy}), %with);
}

# log_url is where the policy says that its log is, or undef.
sub log_url {
    my ($policy) = @_;
    return (grep { defined && m{\Ahttps?://}a } map { $_->{url} } $policy->logs)[0];
}

# is_the_logs: the word of a server that a path is not logged counts if nobody on the way could have said it instead:
# over TLS or on this machine, and if the policy names hosts, from one of them.
sub is_the_logs {
    my ($url, $policy) = @_;
    my ($scheme, $host) = CPAN::TLog::HTTP::parts($url) or return 0;
    return 1 if CPAN::TLog::HTTP::is_this_machine($host);
    my @named = grep { defined } map { (CPAN::TLog::HTTP::parts($_->{url} // q{}))[1] } $policy->logs;
    return $scheme eq 'https' && (!@named || grep { $_ eq $host } @named) ? 1 : 0;
}

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

# beside is the proof that lies beside a file on this machine, and named is one by its own name, which must be there.
sub beside {
    my ($class, $file) = @_;
    my $name = $file . $EXTENSION;
    return bless { name => $name, ask => sub {
        return (absence_detail => "there is no $name") if !-e $name && $!{ENOENT};
        return one_proof($name);
    } }, $class;
}

sub named {
    my ($class, $name) = @_;
    return bless { name => $name, ask => sub { one_proof($name) } }, $class;
}

sub one_proof {
    my ($name) = @_;
    my $bundle = eval { read_bounded($name, $MAX_SIZE + 1) };
    return (bundle => $bundle) if defined $bundle;
    return (error => 'the proof: ' . CPAN::TLog::Error->caught($@)->message);
}

# mirror has proofs beside its files.
sub mirror {
    my ($class, $url) = @_;
    $url =~ s{/*\z}{/};
    my $files = CPAN::TLog::Files->at($url);
    return bless { name => $url, needs_path => 1, ask => sub {
        my ($path) = @_;
        if (defined $files->{dir}) {
            my $file = File::Spec->catfile($files->{dir}, split m{/}, "$path$EXTENSION");
            return (bundle => read_bounded($file, $MAX_SIZE + 1)) if -e $file;
            return (absence_detail => "there is no $file");
        }
        my %page = CPAN::TLog::HTTP::get($url . CPAN::TLog::HTTP::escaped("$path$EXTENSION"),
            limit => $MAX_SIZE, elsewhere => 1);
        return defined $page{body} ? (bundle => $page{body}) : (absence_detail => $page{why});
    } }, $class;
}

# lookup asks the log itself, which so learns the path.
sub lookup {
    my ($class, $url, $policy) = @_;
    $url =~ s{/+\z}{};
    CPAN::TLog::Error->throw('local', 'expected the URL of a log, https://..., found %s', $url)
        if !CPAN::TLog::HTTP::parts($url) || $url !~ /\Ahttps?:/a;
    my $trusted = is_the_logs($url, $policy);
    return bless { name => $url, needs_path => 1, ask => sub { ask_log($url, $trusted, @_) } }, $class;
}

sub ask_log {
    my ($url, $trusted, $path) = @_;
    my %page = CPAN::TLog::HTTP::get("$url/proof/" . CPAN::TLog::HTTP::escaped("$path$EXTENSION"), limit => $MAX_SIZE);
    return (bundle => $page{body}) if defined $page{body};

    # The page says in words why there is no proof, the interface also in a word for programs.
    my $error = inclusion_proof($url, path => $path)->{error};
    return (absence_detail => $page{why}) if ref $error ne 'HASH';
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
    my %page = CPAN::TLog::HTTP::get(
        "$url/pauselog.v1.Log/GetInclusionProof?$by=" . CPAN::TLog::HTTP::escaped($value), limit => $MAX_SIZE);
    require JSON::PP;
    my $json = eval { JSON::PP->new->utf8->max_depth(16)->decode($page{body} // $page{content} // q{}) };
    return ref $json eq 'HASH' ? $json : {};
}

sub encoded {
    my ($text) = @_;
    utf8::encode($text //= q{});
    return $text;
}

sub name       { return $_[0]{name} }
sub needs_path { return $_[0]{needs_path} }

sub fetch {
    my ($self, $path, $sha256) = @_;
    my %answer = eval { $self->{ask}->($path, $sha256) };
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
larger than it may be. Addresses that begin with C<https> need L<IO::Socket::SSL>. L<CPAN::TLog::Search> asks one
source after the other.

But for C<lookup>, and for a mirror from which the file itself comes, no source is told a path: of a proof tree a shard of
its index is read, which has thousands.

=head1 METHODS

Where a C<%with> is, it is the C<policy> and the C<memory> for L<CPAN::TLog::Source::Tree>.

=head2 proofs($place, %with)

What the user has: the URL of a proof tree; a folder that is a proof tree, which has a F<checkpoint>; a folder of proofs;
a pack (L<CPAN::TLog::Pack>); or one proof. It dies if it is none of these.

=head2 tree($mirror, %with)

The proof tree of a CPAN mirror, F<modules/tlog>; C<file:>, C<http:> or C<https:>, or a folder.

=head2 log_files($url, %with)

The proof tree that the log itself serves; undef if the URL is none.

=head2 mirror($url)

A CPAN mirror that has F<FILE.tlog-proof> beside its files; C<file:>, C<http:> or C<https:>.

=head2 local_files($place)

A folder of proofs, F<authors/id/.../FILE.tlog-proof> or F<FILE.tlog-proof> in it, or one proof.

=head2 beside($file), named($name)

The proof that lies beside a file; and one by its own name, which must be there.

=head2 lookup($url, $policy)

The log itself, asked for one path after the other.

=head2 fetch($path, $sha256)

Returns what the verifier takes: C<bundle>, C<revocation> and C<deletion>; or C<absence> and C<absence_detail>; or
C<evidence>, if the log contradicts itself; or an C<error> of this machine, that must stop everything. It never dies.

=head2 name, needs_path

What the source was made of; and whether it is of no use without a path.

=head1 FUNCTIONS

=head2 log_url($policy), is_the_logs($url, $policy)

Where the policy says that its log is; and whether a server there could speak for it.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
