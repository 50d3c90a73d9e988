package CPAN::TLog::Encoding;

use 5.016;
use strict;
use warnings;

use Exporter qw(import);
use MIME::Base64 ();

use CPAN::TLog::Error;

our $VERSION = '0.001';

our @EXPORT_OK = qw(
    canonical_base64 encode_base64 is_decimal is_number compare_decimals decimal_bits decimal_of_u64 fits_63_bits
    is_utf8 note_characters check_name is_key_name quote plain
);

# The largest size, index and time of C2SP's formats that we take, 2^63-1. A string, because a perl without 64-bit
# integers would round it.
my $LARGEST = '9223372036854775807';

# What Go's unicode.IsSpace and C2SP signed-note call a space, and the control characters, as UTF-8.
my $SPACE = qr/[\x09-\x0D\x20]|\xC2[\x85\xA0]|\xE1\x9A\x80|\xE2\x80[\x80-\x8A\xA8\xA9\xAF]|\xE2\x81\x9F|\xE3\x80\x80/;
my $CONTROL = qr/[\x00-\x1F\x7F]|\xC2[\x80-\x9F]/;

my $MAX_NAME = 255;

sub encode_base64 { return MIME::Base64::encode_base64($_[0], q{}) }

# canonical_base64 returns undef for what encode_base64 would not write: decoders skip what they do not know, and
# ignore the bits that padding leaves over.
sub canonical_base64 {
    my ($text) = @_;
    return if $text =~ /[^A-Za-z0-9+\/=]/a;
    my $bytes = MIME::Base64::decode_base64($text);
    return if encode_base64($bytes) ne $text;
    return $bytes;
}

sub is_decimal { return scalar $_[0] =~ /\A(?:0|[1-9][0-9]{0,18})\z/a }

# is_number is the decimals of entries: 15 digits, which a double holds exactly.
sub is_number { return scalar $_[0] =~ /\A(?:0|[1-9][0-9]{0,14})\z/a }

sub fits_63_bits { return is_decimal($_[0]) && compare_decimals($_[0], $LARGEST) <= 0 }

# compare_decimals orders canonical decimals of any length.
sub compare_decimals { return length $_[0] <=> length $_[1] || $_[0] cmp $_[1] }

# decimal_bits returns the bits of a canonical decimal below 2^64, the lowest first. Limbs of 16 bits keep every step
# below 2^20.
sub decimal_bits {
    my ($decimal) = @_;
    my @limbs = (0) x 4;
    for my $digit (split //, $decimal) {
        my $carry = $digit;
        for my $limb (@limbs) {
            $carry += 10 * $limb;
            $limb  = $carry & 0xFFFF;
            $carry = $carry >> 16;
        }
    }
    return map { split //, unpack 'b16', pack 'v', $_ } @limbs;
}

# decimal_of_u64 reads eight bytes, the highest first.
sub decimal_of_u64 {
    my @limbs  = unpack 'n4', $_[0];
    my $digits = q{};
    while (grep { $_ } @limbs) {
        my $rest = 0;
        for my $limb (@limbs) {
            $rest  = $rest * 65_536 + $limb;
            $limb  = int $rest / 10;
            $rest -= $limb * 10;
        }
        $digits = $rest . $digits;
    }
    return length $digits ? $digits : '0';
}

# is_utf8 accepts what RFC 3629 does: no overlong forms, no surrogates, nothing above U+10FFFF. It reads in steps,
# because older perls end a repeated group after 32,766 rounds.
sub is_utf8 {
    my ($bytes) = @_;
    pos($bytes) = 0;
    1 while $bytes =~ /\G(?:
        [\x00-\x7F]+ | [\xC2-\xDF][\x80-\xBF]
        | \xE0[\xA0-\xBF][\x80-\xBF] | [\xE1-\xEC\xEE\xEF][\x80-\xBF]{2} | \xED[\x80-\x9F][\x80-\xBF]
        | \xF0[\x90-\xBF][\x80-\xBF]{2} | [\xF1-\xF3][\x80-\xBF]{3} | \xF4[\x80-\x8F][\x80-\xBF]{2}
    )/gcx;
    return (pos($bytes) // 0) == length $bytes;
}

# note_characters is C2SP signed-note's rule for all bytes of a note. It is what refuses CR.
sub note_characters { return $_[0] !~ /[\x00-\x09\x0B-\x1F]/ && is_utf8($_[0]) }

# is_key_name is C2SP signed-note's rule for key names in the lines of others.
sub is_key_name { return length $_[0] && is_utf8($_[0]) && $_[0] !~ /\+|$SPACE/ }

# check_name is the rule for names that we use: an origin, or a key of the policy. It returns what is wrong, or undef.
sub check_name {
    my ($name) = @_;
    return 'expected a name, found an empty one' if !length $name;
    return sprintf 'expected a name of at most %d bytes, found %d', $MAX_NAME, length $name if length $name > $MAX_NAME;
    return sprintf q{expected a name of valid UTF-8 without spaces, control characters and '+', found %s}, quote($name)
        if !is_key_name($name) || $name =~ $CONTROL;
    return;
}

# quote prints a stranger's bytes in an error: escaped, and shortened, because they may be many.
sub quote {
    my ($bytes) = @_;
    my $more = length($bytes) - 100;
    $bytes = substr $bytes, 0, 100;
    $bytes =~ s/(["\\])/\\$1/g;
    $bytes =~ s/\n/\\n/g;
    $bytes =~ s/([^\x20-\x7E])/sprintf '\\x%02x', ord $1/ge;
    return $more > 0 ? qq{"$bytes" and $more more bytes} : qq{"$bytes"};
}

# plain makes a stranger's text fit for a terminal and one line.
sub plain {
    my ($text) = @_;
    $text = substr($text, 0, 600) . '...' if length $text > 600;
    $text =~ s/[^\x20-\x7E]/?/g if !is_utf8($text);
    # Controls, line and paragraph separators, and what turns the direction of writing.
    $text =~ s/$CONTROL|\xE2\x80[\xA8\xA9\xAA-\xAE]|\xE2\x81[\xA6-\xA9]/?/g;
    return $text;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Encoding - values that have exactly one encoding

=head1 DESCRIPTION

Two readers that differ in what they forgive can be shown two different truths. So each value in the formats that
this distribution reads has one encoding, and everything else is refused: base64 that an encoder would not write,
decimals with leading zeros, carriage returns, bytes that are not UTF-8.

All functions take and return bytes. Decimals stay strings: sizes and indexes go up to 2^63-1, which a perl without
64-bit integers cannot hold. Nothing is exported unless asked for.

=head1 FUNCTIONS

=head2 canonical_base64($text)

Returns the bytes, or undef if the text is not what C<encode_base64> would write of them.

=head2 encode_base64($bytes)

Base64 on one line.

=head2 is_decimal($text), is_number($text), fits_63_bits($text)

Whether the text is a canonical decimal of at most 19 digits; of at most 15; and at most 2^63-1.

=head2 compare_decimals($x, $y)

Orders canonical decimals, as C<< <=> >> does.

=head2 decimal_bits($decimal)

The 64 bits of a decimal, the lowest first.

=head2 decimal_of_u64($bytes)

The decimal of eight bytes, the highest first.

=head2 is_utf8($bytes), note_characters($bytes)

Whether the bytes are UTF-8, and have none of the control characters but line feeds.

=head2 is_key_name($bytes), check_name($bytes)

The rules for names of keys: of others (true or false), and of those that are used (undef, or what is wrong).

=head2 quote($bytes), plain($bytes)

A stranger's bytes for an error message, and for a terminal.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
