package CPAN::TLog::Note;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256);

use CPAN::TLog::Encoding
    qw(canonical_base64 check_name encode_base64 fits_63_bits is_key_name note_characters quote);
use CPAN::TLog::Error;

our $VERSION = '0.001';

our $MAX_SIZE       = 128 * 1024;
our $MAX_SIGNATURES = 96;

my $DASH = "\xE2\x80\x94 ";

# parse takes a signed checkpoint apart (C2SP signed-note and tlog-checkpoint). Nothing is verified.
sub parse {
    my ($class, $bytes) = @_;
    malformed('note of %d bytes, expected at most %d', length $bytes, $MAX_SIZE) if length $bytes > $MAX_SIZE;
    malformed('expected UTF-8 without control characters but line feeds') if !note_characters($bytes);

    # The text may have empty lines of its own: the last one ends it.
    my $end = rindex $bytes, "\n\n";
    malformed('expected a blank line between text and signatures, found none') if $end < 0;
    my $self = bless { bytes => $bytes, text => substr($bytes, 0, $end + 1) }, $class;
    $self->parse_signatures(substr $bytes, $end + 2);
    $self->parse_text;
    return $self;
}

sub parse_signatures {
    my ($self, $rest) = @_;
    malformed('expected at least one signature line, found none') if !length $rest;
    malformed('the last signature line does not end in a newline') if substr($rest, -1) ne "\n";
    my @lines = split /\n/, $rest, -1;
    pop @lines;
    malformed('more than %d signature lines', $MAX_SIGNATURES) if @lines > $MAX_SIGNATURES;
    my (@signatures, %seen);
    for my $line (@lines) {
        malformed('expected a signature line that starts with an em dash, found %s', quote($line))
            if substr($line, 0, length $DASH) ne $DASH;
        my ($name, $encoded) = split / /, substr($line, length $DASH), 2;
        malformed('signature line: expected a key name, a space and base64, found %s', quote($line))
            if !defined $encoded || !is_key_name($name);
        my $blob = canonical_base64($encoded);
        malformed('signature of %s: expected canonical base64, found %s', quote($name), quote($encoded))
            if !defined $blob;
        malformed('signature of %s: expected a key id of 4 bytes and a signature, found %d bytes',
            quote($name), length $blob) if length $blob < 5;
        my $id = unpack 'H8', $blob;

        # With two lines of one key, which of them counts would depend on the reader.
        malformed('two signature lines of key %s+%s', quote($name), $id) if $seen{"$name+$id"}++;
        push @signatures, { name => $name, id => $id, blob => substr $blob, 4 };
    }
    $self->{signatures} = \@signatures;
    return;
}

sub parse_text {
    my ($self) = @_;
    my ($origin, $size, $root, $rest) = split /\n/, $self->{text}, 4;
    malformed('expected the lines origin, size and root, found %s', quote($self->{text})) if !defined $rest;
    malformed('size: expected a decimal number up to 2^63-1 without leading zeros, found %s', quote($size))
        if !fits_63_bits($size);
    my $hash = canonical_base64($root);
    malformed('root: expected 32 bytes in canonical base64, found %s', quote($root))
        if !defined $hash || length $hash != 32;
    my $wrong = check_name($origin);
    malformed('origin: %s', $wrong) if $wrong;

    # There is one tree of size 0. A checkpoint with another root would be a lie that nothing could expose.
    malformed('size 0 with another root than that of the empty tree') if $size eq '0' && $hash ne sha256(q{});
    if (length $rest) {
        malformed('empty line in the text') if $rest =~ /\A\n|\n\n/a;
        CPAN::TLog::Error->throw(
            extension => 'checkpoint has extension lines: expected three lines, found a fourth, %s', quote($rest));
    }
    @{$self}{qw(origin size root)} = ($origin, $size, $hash);
    return;
}

sub malformed {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(malformed => "malformed checkpoint: $format", @args);
}

sub bytes      { return $_[0]{bytes} }
sub text       { return $_[0]{text} }
sub origin     { return $_[0]{origin} }
sub size       { return $_[0]{size} }
sub root       { return $_[0]{root} }
sub signatures { return @{$_[0]{signatures}} }

sub root_base64 { return encode_base64($_[0]{root}) }

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Note - a signed checkpoint, taken apart (C2SP signed-note and tlog-checkpoint)

=head1 SYNOPSIS

    my $note = CPAN::TLog::Note->parse($bytes);
    printf "%s has %s entries, says a stranger\n", $note->origin, $note->size;

=head1 DESCRIPTION

A checkpoint is what a log says of itself: its origin, how many entries it has, and the root of their tree. A note
adds lines of signatures. What this module returns is well formed and otherwise a stranger's claim: L<CPAN::TLog::Policy>
verifies it.

=head1 METHODS

=head2 parse($bytes)

Returns the note, or dies with a L<CPAN::TLog::Error> of kind C<malformed> or C<extension>.

=head2 origin, size, root, root_base64

What the checkpoint says. The size is a decimal, the root is 32 bytes.

=head2 text, bytes

The lines that are signed; everything.

=head2 signatures

The signature lines, hashes with C<name>, C<id> (eight hex digits) and C<blob>.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
