package CPAN::TLog::Bundle;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256);

use CPAN::TLog::Encoding
    qw(canonical_base64 compare_decimals decimal_bits encode_base64 fits_63_bits note_characters quote);
use CPAN::TLog::Error;

our $VERSION = '0.001';

our $HEADER    = 'c2sp.org/tlog-proof@v1';
our $EXTENSION = '.tlog-proof';
our $MAX_SIZE  = 256 * 1024;
our $MAX_ENTRY = 16 * 1024;
our $MAX_PROOF = 63;

# parse takes a bundle apart (C2SP tlog-proof). Nothing is proven.
sub parse {
    my ($class, $bytes) = @_;
    my $end = index $bytes, "\n";
    malformed('it has no complete line') if $end < 0;
    my $header = substr $bytes, 0, $end;
    if ($header ne $HEADER) {
        my ($version) = $header =~ /\Ac2sp\.org\/tlog-proof\@v([1-9][0-9]{0,19})\z/a;
        CPAN::TLog::Error->throw(version => 'unsupported tlog-proof version: expected %s, found %s', $HEADER, $header)
            if defined $version && $version ne '1' && compare_decimals($version, '18446744073709551615') <= 0;
        malformed('expected the line %s, found %s', $HEADER, quote($header));
    }
    malformed('it has %d bytes, at most %d are allowed', length $bytes, $MAX_SIZE) if length $bytes > $MAX_SIZE;

    # No line of the proof is empty, so the first empty one ends it, however many the checkpoint has.
    my $blank = index $bytes, "\n\n";
    malformed('it ends before the blank line and the checkpoint') if $blank < 0;
    my @lines = split /\n/, substr($bytes, $end + 1, $blank > $end ? $blank - $end - 1 : 0), -1;
    my $self = bless { bytes => $bytes, hashes => [] }, $class;
    $self->{entry} = parse_entry(shift @lines) if @lines && $lines[0] =~ /\Aextra /a;
    my $index = shift(@lines) // q{};
    malformed('expected the index line, found %s', quote($index)) if $index !~ /\Aindex /a;
    $self->{index} = substr $index, length 'index ';
    malformed('expected a decimal index of at most 2^63-1, found %s', quote($self->{index}))
        if !fits_63_bits($self->{index});
    malformed('over %d hashes', $MAX_PROOF) if @lines > $MAX_PROOF;
    for my $line (@lines) {
        my $hash = canonical_base64($line);
        malformed('expected a hash of 32 bytes in base64, found %s', quote($line))
            if !defined $hash || length $hash != 32;
        push @{$self->{hashes}}, $hash;
    }
    $self->{checkpoint} = parse_checkpoint(substr $bytes, $blank + 2);
    return $self;
}

sub parse_entry {
    my ($line) = @_;
    my $encoded = substr $line, length 'extra ';
    malformed('the extra line is empty') if !length $encoded;
    my $entry = length $encoded <= 4 * ($MAX_ENTRY / 3 + 1) ? canonical_base64($encoded) : q{};
    malformed('the extra line is not base64') if !defined $entry;
    malformed('the extra line carries over %d bytes', $MAX_ENTRY) if !length $entry || length $entry > $MAX_ENTRY;
    return $entry;
}

# parse_checkpoint checks that there is a text to pass on. What it says is for CPAN::TLog::Note.
sub parse_checkpoint {
    my ($text) = @_;
    malformed('there is no checkpoint') if !length $text;
    malformed(q{expected the checkpoint's origin after the blank line, found another blank line}) if $text =~ /\A\n/a;
    malformed('the checkpoint does not end in a newline') if substr($text, -1) ne "\n";
    malformed('the checkpoint is not UTF-8 without control characters') if !note_characters($text);
    return $text;
}

sub malformed {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(malformed => "malformed tlog-proof: $format", @args);
}

sub bytes      { return $_[0]{bytes} }
sub entry      { return $_[0]{entry} }
sub index      { return $_[0]{index} } ## no critic (ProhibitBuiltinHomonyms)
sub hashes     { return @{$_[0]{hashes}} }
sub checkpoint { return $_[0]{checkpoint} }

# new makes a bundle of its parts, and is as strict about them as parse.
sub new {
    my ($class, %part) = @_;
    my $text = "$HEADER\n";
    $text .= 'extra ' . encode_base64($part{entry}) . "\n" if defined $part{entry};
    $text .= "index $part{index}\n" . join q{}, map { encode_base64($_) . "\n" } @{$part{hashes}};
    return $class->parse("$text\n$part{checkpoint}");
}

# verify checks that the entry is the leaf with the bundle's index in the tree of this size and root
# (RFC 6962 section 2.1.1): the path turns by the index's bits as far up as index and last leaf have different parents,
# and from there on has hashes on the left only.
sub verify {
    my ($self, $size, $root) = @_;
    my $index = $self->{index};
    unproven('the bundle carries no entry') if !defined $self->{entry};
    unproven('index %s is not below the tree size %s', $index, $size) if compare_decimals($index, $size) >= 0;
    my @index = decimal_bits($index);
    my @last  = decimal_bits($size);
    for my $bit (@last) {    # size - 1
        $bit = 1 - $bit;
        last if !$bit;
    }
    my $inner = 64;
    $inner-- while $inner > 0 && $index[$inner - 1] == $last[$inner - 1];
    my $outer    = grep { $_ } @index[$inner .. 63];
    my $expected = $inner + $outer;
    my @hashes   = $self->hashes;
    unproven('inclusion of index %s in tree of size %s: expected a proof of %d hashes, found %d',
        $index, $size, $expected, scalar @hashes) if @hashes != $expected;

    my $hash = sha256("\x00" . $self->{entry});
    for my $level (0 .. $#hashes) {
        my $left = $level >= $inner || $index[$level];
        $hash = sha256($left ? "\x01$hashes[$level]$hash" : "\x01$hash$hashes[$level]");
    }
    unproven('inclusion of index %s in tree of size %s: it leads to root %s, expected %s',
        $index, $size, encode_base64($hash), encode_base64($root)) if $hash ne $root;
    return 1;
}

sub unproven {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(proof => "proof does not verify: $format", @args);
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Bundle - a proof that travels with a file (C2SP tlog-proof)

=head1 SYNOPSIS

    my $bundle = CPAN::TLog::Bundle->parse($text);
    my $opened = $policy->open($bundle->checkpoint);
    $bundle->verify($opened->size, $opened->root);

=head1 DESCRIPTION

A bundle is a text of an entry, its index in the log, the hashes that lead from it to the root of the log's tree, and
the signed checkpoint with that root:

    c2sp.org/tlog-proof@v1
    extra <base64 of the entry>
    index <decimal>
    <base64 of a hash>              none to 63 lines

    <checkpoint>                    the signed note, verbatim

=head1 METHODS

=head2 parse($text)

Returns the bundle, or dies with a L<CPAN::TLog::Error> of kind C<malformed>, or C<version> if it is a bundle of a
later version.

=head2 new(entry => $bytes, index => $decimal, hashes => \@hashes, checkpoint => $note)

The same from the parts.

=head2 entry, index, hashes, checkpoint, bytes

Its parts. The entry is undef if there is none.

=head2 verify($size, $root)

Dies with a C<proof> error unless the entry is included in the tree of this size and root, which must be those of
the bundle's checkpoint after its signatures were verified.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
