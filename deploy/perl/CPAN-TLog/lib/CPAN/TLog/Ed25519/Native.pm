package CPAN::TLog::Ed25519::Native;

use 5.016;
use strict;
use warnings;
use integer;

use Config;
use Digest::SHA qw(sha512);

our $VERSION = '0.001';

# An element of the field of integers modulo p = 2^255 - 19 is a list of ten limbs, of 26 and 25 bits in turn: limb i
# counts 2^ceil(25.5 i). After a product, limbs are not negative and have their size (the second may have a
# little more). A sum or a difference is not carried: its limbs are up to twice, in one case three times as large.
# The largest column of a product is 123.5 * 2^52 times the two factors, of which the largest that
# occur here are 3 and 2: below 2^62, so that nothing overflows the 63 bits of a signed integer.

# For each limb: its word of 32 bits, where it begins there, and its mask. The top bit, the sign of x, is no part of
# the number.
my @LIMBS = map { [$_->[0] / 32, $_->[0] % 32, (1 << $_->[1]) - 1] } (
    [0,   26], [26,  25], [51,  26], [77,  25], [102, 26],
    [128, 25], [153, 26], [179, 25], [204, 26], [230, 25],
);

my $ZERO = [(0) x 10];
my $ONE  = [1, (0) x 9];

# d of the curve -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032 section 5.1), and a square root of -1.
my $D       = from_bytes(pack 'H*', 'a3785913ca4deb75abd841414d0a700098e879777940c78c73fe6f2bee6c0352');
my $D2      = add($D, $D);
my $SQRT_M1 = from_bytes(pack 'H*', 'b0a00e4a271beec478e42fad0618432fa7d7fb3d99004d2b0bdfc14f8024832b');

my $BASE = pack 'H*', '58' . '66' x 31;

# The order of the base point, L, in 16 limbs of 16 bits.
my @ORDER = (0xD3ED, 0x5CF5, 0x631A, 0x5812, 0x9CD6, 0xA2F7, 0xF9DE, 0x14DE, (0) x 7, 0x1000);

sub name { return 'native' }

sub available { return $Config{ivsize} >= 8 }

# verify is for keys and signatures that CPAN::TLog::Ed25519 has looked at.
sub verify {
    my ($class, $public, $message, $signature) = @_;
    my $of_key  = odd_multiples($public, 1) or return 0;
    my $of_base = odd_multiples($BASE,   0);
    my $r       = substr $signature, 0, 32;
    my $h       = digits(reduce(sha512($r . $public . $message)));
    my $s       = digits(substr $signature, 32);

    # [S]B + [h](-A), both in one run of doublings.
    my ($x, $y, $z, $t) = ($ZERO, $ONE, $ONE);
    my $i = 255;
    $i-- while $i > 0 && !$h->[$i] && !$s->[$i];
    for (; $i >= 0; $i--) {
        my ($e, $f, $g, $k) = double($x, $y, $z);
        for my $step ([$h->[$i], $of_key], [$s->[$i], $of_base]) {
            my ($digit, $odd) = @{$step};
            next if !$digit;
            ($x, $y, $z, $t) = (mul($e, $f), mul($g, $k), mul($f, $g), mul($e, $k));
            ($e, $f, $g, $k) = add_point($x, $y, $z, $t, $odd->[abs($digit) >> 1], $digit < 0);
        }
        ($x, $y, $z) = (mul($e, $f), mul($g, $k), mul($f, $g));
    }

    # Encodings are compared, without a multiplication by the cofactor, as Go's crypto/ed25519 does.
    my $inverse = invert($z);
    my $encoded = to_bytes(mul($y, $inverse));
    my $sign    = ord(to_bytes(mul($x, $inverse))) & 1;
    substr $encoded, 31, 1, chr(ord(substr $encoded, 31) | $sign << 7);
    return $encoded eq $r ? 1 : 0;
}

# on_curve reports whether a y below p belongs to a point.
sub on_curve {
    my ($class, $public) = @_;
    my ($x) = decompress($public);
    return defined $x ? 1 : 0;
}

# odd_multiples returns the multiples 1, 3, ... 15 of a point, or of its negative, as add_point takes them. A policy
# has few keys, so that they are kept.
my %multiples;

sub odd_multiples {
    my ($public, $negative) = @_;
    my $name = "$negative$public";
    return $multiples{$name} if $multiples{$name};
    my ($x, $y) = decompress($public);
    return if !defined $y;
    $x = mul(subtract($ZERO, $x), $ONE) if $negative;
    my ($z, $t) = ($ONE, mul($x, $y));
    my ($e, $f, $g, $k) = double($x, $y, $z);
    my $twice = prepared(mul($e, $f), mul($g, $k), mul($f, $g), mul($e, $k));
    my @odd   = prepared($x, $y, $z, $t);
    for (1 .. 7) {
        ($e, $f, $g, $k) = add_point($x, $y, $z, $t, $twice, 0);
        ($x, $y, $z, $t) = (mul($e, $f), mul($g, $k), mul($f, $g), mul($e, $k));
        push @odd, prepared($x, $y, $z, $t);
    }
    %multiples = () if keys %multiples >= 64;
    return $multiples{$name} = \@odd;
}

# A point is X, Y, Z, T with x = X/Z, y = Y/Z and xy = T/Z (Hisil, Wong, Carter and Dawson 2008). double and add_point
# return E, F, G, H of that paper: the new point is EF, GH, FG, EH, and the last product is needed for a sum only.
sub double {
    my ($x, $y, $z) = @_;
    my $xx = square($x);
    my $yy = square($y);
    my $zz = square($z);
    my $g  = subtract($yy, $xx);
    my $h  = add($yy, $xx);
    return (subtract(square(add($x, $y)), $h), subtract(add($zz, $zz), $g), $g, $h);
}

sub prepared {
    my ($x, $y, $z, $t) = @_;
    return [add($y, $x), subtract($y, $x), add($z, $z), mul($t, $D2)];
}

sub add_point {
    my ($x, $y, $z, $t, $prepared, $negative) = @_;
    my ($sum, $difference, $z2, $td) = @{$prepared};
    ($sum, $difference) = ($difference, $sum) if $negative;
    my $a = mul(subtract($y, $x), $difference);
    my $b = mul(add($y, $x), $sum);
    my $c = mul($t, $td);
    my $d = mul($z, $z2);
    my ($f, $g) = (subtract($d, $c), add($d, $c));
    ($f, $g) = ($g, $f) if $negative;
    return (subtract($b, $a), $f, $g, add($b, $a));
}

# decompress returns x and y of a point (RFC 8032 section 5.1.3), or nothing if there is none.
sub decompress {
    my ($bytes) = @_;
    my $y  = from_bytes($bytes);
    my $yy = square($y);
    my $u  = subtract($yy, $ONE);
    my $v  = add(mul($yy, $D), $ONE);
    my $v3 = mul(square($v), $v);
    my $x  = mul(mul($u, $v3), power22523(mul($u, mul(square($v3), $v))));
    my $vxx = mul($v, square($x));
    if (to_bytes(subtract($vxx, $u)) ne to_bytes($ZERO)) {
        return if to_bytes(add($vxx, $u)) ne to_bytes($ZERO);
        $x = mul($x, $SQRT_M1);
    }
    my $odd = ord(to_bytes($x)) & 1;
    $x = mul(subtract($ZERO, $x), $ONE) if $odd != ord(substr $bytes, 31) >> 7;
    return ($x, $y);
}

# power22523 returns z to the power of (p-5)/8 = 2^252 - 3, and invert z to that of p-2 = 2^255 - 21.
sub power22523 {
    my ($z) = @_;
    my ($ones250) = chain($z);
    return mul(squares($ones250, 2), $z);
}

sub invert {
    my ($z) = @_;
    my ($ones250, $z11) = chain($z);
    return mul(squares($ones250, 5), $z11);
}

# chain returns z to the power of 2^250 - 1, and to that of 11.
sub chain {
    my ($z) = @_;
    my $z2   = square($z);
    my $z9   = mul(squares($z2, 2), $z);
    my $z11  = mul($z9, $z2);
    my $n5   = mul(square($z11), $z9);
    my $n10  = mul(squares($n5,  5),  $n5);
    my $n20  = mul(squares($n10, 10), $n10);
    my $n40  = mul(squares($n20, 20), $n20);
    my $n50  = mul(squares($n40, 10), $n10);
    my $n100 = mul(squares($n50, 50), $n50);
    my $n200 = mul(squares($n100, 100), $n100);
    return (mul(squares($n200, 50), $n50), $z11);
}

sub squares {
    my ($z, $times) = @_;
    $z = square($z) for 1 .. $times;
    return $z;
}

# reduce returns the 32 bytes of a number of 64 modulo L, the lowest first. It takes 16 bits at a time, and from the
# remainder so far the multiple of L that its top bits show: since L is a little over 2^252, that is at most
# one too many.
sub reduce {
    my ($bytes) = @_;
    my @rest = (0) x 17;
    for my $word (reverse unpack 'v32', $bytes) {
        @rest = ($word, @rest[0 .. 15]);
        subtract_order(\@rest, $rest[16] << 4 | $rest[15] >> 12);
        subtract_order(\@rest, -1) if $rest[16] < 0;
    }
    return pack 'v16', @rest;
}

sub subtract_order {
    my ($rest, $times) = @_;
    my $carry = 0;
    for my $i (0 .. 15) {
        $carry += $rest->[$i] - $times * $ORDER[$i];
        $rest->[$i] = $carry & 0xFFFF;
        $carry >>= 16;
    }
    $rest->[16] += $carry;
    return;
}

# digits writes a scalar as 256 digits, 0 or odd from -15 to 15, of which any five in a row have at most one that is
# not 0, in most places.
sub digits {
    my ($bytes) = @_;
    my @digits = split //, unpack 'b256', $bytes;
    for my $i (0 .. 255) {
        next if !$digits[$i];
        for my $b (1 .. 6) {
            last if $i + $b > 255;
            next if !$digits[$i + $b];
            my $term = $digits[$i + $b] << $b;
            if ($digits[$i] + $term <= 15) {
                $digits[$i] += $term;
                $digits[$i + $b] = 0;
            }
            elsif ($digits[$i] - $term >= -15) {
                $digits[$i] -= $term;
                for my $k ($i + $b .. 255) {
                    if (!$digits[$k]) {
                        $digits[$k] = 1;
                        last;
                    }
                    $digits[$k] = 0;
                }
            }
            else {
                last;
            }
        }
    }
    return \@digits;
}

sub from_bytes {
    my @words = (unpack('V8', $_[0]), 0);
    return [map { (($words[$_->[0]] | $words[$_->[0] + 1] << 32) >> $_->[1]) & $_->[2] } @LIMBS];
}

# to_bytes returns the one encoding, of a number from 0 to p-1.
sub to_bytes {
    my @h = @{mul($_[0], $ONE)};
    my $q = (19 * $h[9] + (1 << 24)) >> 25;
    for my $i (0 .. 9) {
        $q = ($h[$i] + $q) >> ($i % 2 ? 25 : 26);
    }

    # q is 1 if the number is p or more, and 0 if not: without q p it has 255 bits.
    $h[0] += 19 * $q;
    my ($bits, $length, @words) = (0, 0);
    my $carry = 0;
    for my $i (0 .. 9) {
        my $size = $i % 2 ? 25 : 26;
        $carry += $h[$i];
        $bits   |= ($carry & ((1 << $size) - 1)) << $length;
        $carry  >>= $size;
        $length += $size;
        if ($length >= 32) {
            push @words, $bits & 0xFFFFFFFF;
            $bits   >>= 32;
            $length  -= 32;
        }
    }
    return pack 'V8', @words, $bits;
}

sub add {
    my ($f, $g) = @_;
    return [
        $f->[0] + $g->[0], $f->[1] + $g->[1], $f->[2] + $g->[2], $f->[3] + $g->[3], $f->[4] + $g->[4],
        $f->[5] + $g->[5], $f->[6] + $g->[6], $f->[7] + $g->[7], $f->[8] + $g->[8], $f->[9] + $g->[9],
    ];
}

sub subtract {
    my ($f, $g) = @_;
    return [
        $f->[0] - $g->[0], $f->[1] - $g->[1], $f->[2] - $g->[2], $f->[3] - $g->[3], $f->[4] - $g->[4],
        $f->[5] - $g->[5], $f->[6] - $g->[6], $f->[7] - $g->[7], $f->[8] - $g->[8], $f->[9] - $g->[9],
    ];
}

# A verification is three thousand products, and so they are written out, carries and all. Where both limbs have an
# odd place, their places add up to one bit more than that of the product's limb, and the product counts twice;
# beyond 2^255 it counts 19 times.
sub mul {
    my ($f0, $f1, $f2, $f3, $f4, $f5, $f6, $f7, $f8, $f9) = @{$_[0]};
    my ($g0, $g1, $g2, $g3, $g4, $g5, $g6, $g7, $g8, $g9) = @{$_[1]};
    my ($d1, $d3, $d5, $d7, $d9) = (2 * $f1, 2 * $f3, 2 * $f5, 2 * $f7, 2 * $f9);
    my ($n1, $n2, $n3, $n4, $n5) = (19 * $g1, 19 * $g2, 19 * $g3, 19 * $g4, 19 * $g5);
    my ($n6, $n7, $n8, $n9) = (19 * $g6, 19 * $g7, 19 * $g8, 19 * $g9);
    my $h0 = $f0 * $g0 + $d1 * $n9 + $f2 * $n8 + $d3 * $n7 + $f4 * $n6 + $d5 * $n5 + $f6 * $n4 + $d7 * $n3
        + $f8 * $n2 + $d9 * $n1;
    my $h1 = $f0 * $g1 + $f1 * $g0 + $f2 * $n9 + $f3 * $n8 + $f4 * $n7 + $f5 * $n6 + $f6 * $n5 + $f7 * $n4
        + $f8 * $n3 + $f9 * $n2;
    my $h2 = $f0 * $g2 + $d1 * $g1 + $f2 * $g0 + $d3 * $n9 + $f4 * $n8 + $d5 * $n7 + $f6 * $n6 + $d7 * $n5
        + $f8 * $n4 + $d9 * $n3;
    my $h3 = $f0 * $g3 + $f1 * $g2 + $f2 * $g1 + $f3 * $g0 + $f4 * $n9 + $f5 * $n8 + $f6 * $n7 + $f7 * $n6
        + $f8 * $n5 + $f9 * $n4;
    my $h4 = $f0 * $g4 + $d1 * $g3 + $f2 * $g2 + $d3 * $g1 + $f4 * $g0 + $d5 * $n9 + $f6 * $n8 + $d7 * $n7
        + $f8 * $n6 + $d9 * $n5;
    my $h5 = $f0 * $g5 + $f1 * $g4 + $f2 * $g3 + $f3 * $g2 + $f4 * $g1 + $f5 * $g0 + $f6 * $n9 + $f7 * $n8
        + $f8 * $n7 + $f9 * $n6;
    my $h6 = $f0 * $g6 + $d1 * $g5 + $f2 * $g4 + $d3 * $g3 + $f4 * $g2 + $d5 * $g1 + $f6 * $g0 + $d7 * $n9
        + $f8 * $n8 + $d9 * $n7;
    my $h7 = $f0 * $g7 + $f1 * $g6 + $f2 * $g5 + $f3 * $g4 + $f4 * $g3 + $f5 * $g2 + $f6 * $g1 + $f7 * $g0
        + $f8 * $n9 + $f9 * $n8;
    my $h8 = $f0 * $g8 + $d1 * $g7 + $f2 * $g6 + $d3 * $g5 + $f4 * $g4 + $d5 * $g3 + $f6 * $g2 + $d7 * $g1
        + $f8 * $g0 + $d9 * $n9;
    my $h9 = $f0 * $g9 + $f1 * $g8 + $f2 * $g7 + $f3 * $g6 + $f4 * $g5 + $f5 * $g4 + $f6 * $g3 + $f7 * $g2
        + $f8 * $g1 + $f9 * $g0;
    $h1 += $h0 >> 26;
    $h0 &= 0x3FFFFFF;
    $h2 += $h1 >> 25;
    $h1 &= 0x1FFFFFF;
    $h3 += $h2 >> 26;
    $h2 &= 0x3FFFFFF;
    $h4 += $h3 >> 25;
    $h3 &= 0x1FFFFFF;
    $h5 += $h4 >> 26;
    $h4 &= 0x3FFFFFF;
    $h6 += $h5 >> 25;
    $h5 &= 0x1FFFFFF;
    $h7 += $h6 >> 26;
    $h6 &= 0x3FFFFFF;
    $h8 += $h7 >> 25;
    $h7 &= 0x1FFFFFF;
    $h9 += $h8 >> 26;
    $h8 &= 0x3FFFFFF;
    $h0 += 19 * ($h9 >> 25);
    $h9 &= 0x1FFFFFF;
    $h1 += $h0 >> 26;
    $h0 &= 0x3FFFFFF;
    return [$h0, $h1, $h2, $h3, $h4, $h5, $h6, $h7, $h8, $h9];
}

sub square {
    my ($f0, $f1, $f2, $f3, $f4, $f5, $f6, $f7, $f8, $f9) = @{$_[0]};
    my ($d0, $d1, $d2, $d3, $d4) = (2 * $f0, 2 * $f1, 2 * $f2, 2 * $f3, 2 * $f4);
    my ($d5, $d6, $d7, $d8, $d9) = (2 * $f5, 2 * $f6, 2 * $f7, 2 * $f8, 2 * $f9);
    my ($n5, $n6, $n7, $n8, $n9) = (19 * $f5, 19 * $f6, 19 * $f7, 19 * $f8, 19 * $f9);
    my $h0 = $f0 * $f0 + 2 * $d1 * $n9 + $d2 * $n8 + 2 * $d3 * $n7 + $d4 * $n6 + $d5 * $n5;
    my $h1 = $d0 * $f1 + $d2 * $n9 + $d3 * $n8 + $d4 * $n7 + $d5 * $n6;
    my $h2 = $d0 * $f2 + $d1 * $f1 + 2 * $d3 * $n9 + $d4 * $n8 + 2 * $d5 * $n7 + $f6 * $n6;
    my $h3 = $d0 * $f3 + $d1 * $f2 + $d4 * $n9 + $d5 * $n8 + $d6 * $n7;
    my $h4 = $d0 * $f4 + $d1 * $d3 + $f2 * $f2 + 2 * $d5 * $n9 + $d6 * $n8 + $d7 * $n7;
    my $h5 = $d0 * $f5 + $d1 * $f4 + $d2 * $f3 + $d6 * $n9 + $d7 * $n8;
    my $h6 = $d0 * $f6 + $d1 * $d5 + $d2 * $f4 + $d3 * $f3 + 2 * $d7 * $n9 + $f8 * $n8;
    my $h7 = $d0 * $f7 + $d1 * $f6 + $d2 * $f5 + $d3 * $f4 + $d8 * $n9;
    my $h8 = $d0 * $f8 + $d1 * $d7 + $d2 * $f6 + $d3 * $d5 + $f4 * $f4 + $d9 * $n9;
    my $h9 = $d0 * $f9 + $d1 * $f8 + $d2 * $f7 + $d3 * $f6 + $d4 * $f5;
    $h1 += $h0 >> 26;
    $h0 &= 0x3FFFFFF;
    $h2 += $h1 >> 25;
    $h1 &= 0x1FFFFFF;
    $h3 += $h2 >> 26;
    $h2 &= 0x3FFFFFF;
    $h4 += $h3 >> 25;
    $h3 &= 0x1FFFFFF;
    $h5 += $h4 >> 26;
    $h4 &= 0x3FFFFFF;
    $h6 += $h5 >> 25;
    $h5 &= 0x1FFFFFF;
    $h7 += $h6 >> 26;
    $h6 &= 0x3FFFFFF;
    $h8 += $h7 >> 25;
    $h7 &= 0x1FFFFFF;
    $h9 += $h8 >> 26;
    $h8 &= 0x3FFFFFF;
    $h0 += 19 * ($h9 >> 25);
    $h9 &= 0x1FFFFFF;
    $h1 += $h0 >> 26;
    $h0 &= 0x3FFFFFF;
    return [$h0, $h1, $h2, $h3, $h4, $h5, $h6, $h7, $h8, $h9];
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Ed25519::Native - Ed25519 verification with a perl's own 64-bit integers

=head1 DESCRIPTION

One of the ways in which L<CPAN::TLog::Ed25519> verifies signatures, and the one that it takes where it can: pure
Perl, for perls whose integers have 64 bits. Use it through that module, which refuses keys and signatures that this
one does not expect, and tests this one before it trusts it.

Nothing here is secret, so nothing here takes constant time. Do not use it to sign.

=head1 METHODS

=head2 available

Whether this perl has integers of 64 bits.

=head2 name

C<native>.

=head2 verify($public, $message, $signature)

Whether the signature is the key's over the message. The scalar of the signature must be below the group's order.

=head2 on_curve($public)

Whether a canonically encoded y is that of a point.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
