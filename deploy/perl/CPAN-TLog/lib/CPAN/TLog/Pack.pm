package CPAN::TLog::Pack;

use 5.016;
use strict;
use warnings;

use MIME::Base64 qw(decode_base64);

use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(compare_decimals quote);
use CPAN::TLog::Entry;
use CPAN::TLog::Error;
use CPAN::TLog::File qw(read_bounded);

our $VERSION = '0.001';

our $HEADER     = 'pauselog-proofs/v1';
our $EXTENSION  = '.tlog-proofs';
our $MAX_SIZE   = 64 * 1024 * 1024;
our $MAX_PROOFS = 1_000_000;

my $NAME = 'pauselog-proofs/v';

# The base64 of 32 bytes: its last digit before the padding has two bits that must be zero.
my $HASH = qr/[A-Za-z0-9+\/]{42}[AEIMQUYcgkosw048]=\n/;

sub is_pack { return substr($_[0], 0, length $NAME) eq $NAME }

# parse takes a pack apart. Nothing is proven. The text is kept once, and of each section where it is.
sub parse {
    my ($class, $text) = @_;
    my ($header) = substr($text, 0, 256) =~ /\A([^\n]*)\n/ or malformed(1, 'it has no complete line');
    if ($header ne $HEADER) {
        my ($version) = $header =~ /\A\Q$NAME\E([1-9][0-9]{0,19})\z/a;
        CPAN::TLog::Error->throw(version => 'unsupported version of a pack of proofs: expected %s, found %s', $HEADER,
            $header) if defined $version && $version ne '1' && compare_decimals($version, '18446744073709551615') <= 0;
        malformed(1, 'expected %s, found %s', $HEADER, quote($header));
    }
    malformed(1, 'it has %d bytes, this program reads at most %d', length $text, $MAX_SIZE) if length $text > $MAX_SIZE;
    my $self = bless { text => $text, section => [], of_path => {} }, $class;
    my ($at, $last, $largest) = (1 + length $header, undef, 0);
    while (substr($text, $at, 11) ne "checkpoint\n") {
        malformed($self->line_at($at), 'over %d proofs', $MAX_PROOFS) if @{$self->{section}} == $MAX_PROOFS;
        my $end = index $text, "\n\n", $at;
        malformed($self->line_at($at), 'it ends before the line "checkpoint"') if $end < 0;
        my $length = $end + 1 - $at;
        my $index  = $self->parse_section($at, $length);
        malformed($self->line_at($at), 'the proof of entry %s comes after that of entry %s', $index, $last)
            if defined $last && compare_decimals($last, $index) >= 0;
        $last    = $index;
        $largest = $length + 1 if $largest <= $length;
        $at += $length + 1;
    }
    malformed($self->line_at($at), 'it has no proof') if !defined $last;
    $at += 11;
    my $size = 1 + length($CPAN::TLog::Bundle::HEADER) + $largest + length($text) - $at;
    malformed($self->line_at($at), 'a proof and the checkpoint have %d bytes, at most %d are allowed', $size,
        $CPAN::TLog::Bundle::MAX_SIZE) if $size > $CPAN::TLog::Bundle::MAX_SIZE;
    $self->{checkpoint} = eval { CPAN::TLog::Bundle::parse_checkpoint(substr $text, $at) }
        // malformed($self->line_at($at), '%s', CPAN::TLog::Error->caught($@)->message);
    return $self;
}

# parse_section checks a section's form and returns its index. What its entry's path is, is remembered.
sub parse_section {
    my ($self, $at, $length) = @_;
    malformed($self->line_at($at), 'a proof of %d bytes', $length) if $length > $CPAN::TLog::Bundle::MAX_SIZE;
    my $section = substr $self->{text}, $at, $length;
    my ($extra, $index) = $section =~ /\A(extra [^\n]*)\nindex ([^\n]*)\n(?:$HASH){0,63}\z/
        or malformed($self->line_at($at), 'expected the lines extra and index, and at most %d hashes, found %s',
        $CPAN::TLog::Bundle::MAX_PROOF, quote($section));
    malformed($self->line_at($at), 'expected a decimal index of at most 2^63-1, found %s', quote($index))
        if !CPAN::TLog::Encoding::fits_63_bits($index);
    my $bytes = eval { CPAN::TLog::Bundle::parse_entry($extra) }
        // malformed($self->line_at($at), '%s', CPAN::TLog::Error->caught($@)->message);
    push @{$self->{section}}, [$at, $length];

    # An entry of a later format has no path here.
    my $entry = eval { CPAN::TLog::Entry->parse($bytes) };
    push @{$self->{of_path}{$entry->path}}, $#{$self->{section}} if $entry;
    return $index;
}

sub line_at {
    my ($self, $at) = @_;
    return 1 + substr($self->{text}, 0, $at) =~ tr/\n//;
}

sub malformed {
    my ($line, $format, @args) = @_;
    CPAN::TLog::Error->throw(malformed => "malformed pack of proofs: line %d: $format", $line, @args);
}

sub checkpoint { return $_[0]{checkpoint} }

# bundle returns the text of a proof, by its number from 0 on.
sub bundle {
    my ($self, $number) = @_;
    my $section = substr $self->{text}, $self->{section}[$number][0], $self->{section}[$number][1];
    return "$CPAN::TLog::Bundle::HEADER\n$section\n$self->{checkpoint}";
}

sub count { return scalar @{$_[0]{section}} }

sub entry {
    my ($self, $number) = @_;
    my ($extra) = substr($self->{text}, $self->{section}[$number][0], $self->{section}[$number][1]) =~ /\Aextra ([^\n]*)/;
    return CPAN::TLog::Entry->parse(decode_base64($extra));
}

# proofs_of returns what the verifier takes for a path; nothing if there is nothing of it. Of an archive that is the
# newest upload, and the newest void and deletion after it; of an index file the newest entry of the digest, or
# else the newest.
sub proofs_of {
    my ($self, $path, $sha256) = @_;
    my %number;
    my $exact = 0;
    for my $number (reverse @{$self->{of_path}{$path} || []}) {
        my $entry = $self->entry($number);
        my $kind  = $entry->kind;
        if ($kind eq 'index') {
            next if $exact || (defined $number{bundle} && $entry->sha256 ne $sha256);
            $number{bundle} = $number;
            $exact = $entry->sha256 eq $sha256;
        }
        elsif ($kind eq 'upload') {
            $number{bundle} = $number;
            last;
        }
        elsif ($kind eq 'void') {
            $number{revocation} //= $number;
        }
        elsif ($kind eq 'delete') {
            $number{deletion} //= $number;
        }
    }
    return map { $_ => $self->bundle($number{$_}) } sort keys %number;
}

sub read_file {
    my ($class, $file) = @_;
    return $class->parse(read_bounded($file, $MAX_SIZE + 1));
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Pack - many proofs that share one checkpoint, in one file

=head1 SYNOPSIS

    my $pack  = CPAN::TLog::Pack->read_file('cpanfile.tlog-proofs');
    my %proof = $pack->proofs_of('authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz', $sha256);
    my $result = CPAN::TLog::Verify->verify(%request, %proof);

=head1 DESCRIPTION

The proofs of a lockfile, or of a folder of files, as C<pauselog bundle> makes them:

    pauselog-proofs/v1
    extra <base64 of the entry>
    index <decimal>
    <base64 of a hash>              none to 63 lines
                                    a blank line
    extra ...                       the next proof; the indexes increase
    checkpoint
    <checkpoint>                    the signed note, verbatim, to the end

Each section with the first line of a bundle before it, and a blank line and the checkpoint behind it, is a bundle
(L<CPAN::TLog::Bundle>). Voids and deletions of the paths are sections of their own. This module reads packs of up to
64 MiB, which is some 50,000 proofs.

=head1 METHODS

=head2 parse($text), read_file($file)

Returns the pack, or dies with a L<CPAN::TLog::Error> of kind C<malformed>, or C<version> if it is a pack of a later
version. Nothing is proven.

=head2 is_pack($text)

A function: whether a text begins as packs do.

=head2 proofs_of($path, $sha256)

C<bundle>, C<revocation> and C<deletion> for a file of this path and digest, as far as there are such.

=head2 count, bundle($number), entry($number), checkpoint

What it is made of; proofs are numbered from 0 on.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
