package CPAN::TLog::Ed25519::BigInt;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha512);
use Math::BigInt ();

our $VERSION = '0.001';

my $ONE = Math::BigInt->bone;
my $P   = Math::BigInt->new(2)->bpow(255)->bsub(19);
my $L   = Math::BigInt->new('27742317777372353535851937790883648493')->badd(Math::BigInt->new(2)->bpow(252));

# d of the curve -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032 section 5.1), and a square root of -1.
my $D  = Math::BigInt->new('37095705934669439343138083508754565189542113879843219016388785533085940283555');
my $D2 = ($D + $D)->bmod($P);
my $SQRT_M1 = Math::BigInt->new('19681161376707505956807079304988542015446066515923890162744021073123829784752');

my $base;

sub name { return 'bigint' }

sub available { return 1 }

# verify is for keys and signatures that CPAN::TLog::Ed25519 has looked at.
sub verify {
    my ($class, $public, $message, $signature) = @_;
    $base ||= point(decompress(pack 'H*', '58' . '66' x 31));
    my ($x, $y) = decompress($public);
    return 0 if !defined $y;
    my $r     = substr $signature, 0, 32;
    my $minus = point($P - $x, $y);
    my $h     = number(sha512($r . $public . $message))->bmod($L);
    my $s     = number(substr $signature, 32);

    # [S]B + [h](-A), both in one run of doublings.
    my @sums = (undef, $base, $minus, add($base, $minus));
    my @h    = reverse split //, substr $h->as_bin, 2;
    my @s    = reverse split //, substr $s->as_bin, 2;
    my $sum  = point(Math::BigInt->bzero, $ONE);
    for my $i (reverse 0 .. (@h > @s ? $#h : $#s)) {
        $sum = double($sum);
        my $which = ($s[$i] || 0) + 2 * ($h[$i] || 0);
        $sum = add($sum, $sums[$which]) if $which;
    }

    # Encodings are compared, without a multiplication by the cofactor, as Go's crypto/ed25519 does.
    my $inverse = $sum->[2]->copy->bmodinv($P);
    my $encoded = bytes(product($sum->[1], $inverse));
    my $sign    = product($sum->[0], $inverse)->is_odd ? 0x80 : 0;
    substr $encoded, 31, 1, chr(ord(substr $encoded, 31) | $sign);
    return $encoded eq $r ? 1 : 0;
}

# on_curve reports whether a y below p belongs to a point.
sub on_curve {
    my ($class, $public) = @_;
    my ($x) = decompress($public);
    return defined $x ? 1 : 0;
}

sub product {
    my ($x, $y) = @_;
    return $x->copy->bmul($y)->bmod($P);
}

# A point is X, Y, Z, T with x = X/Z, y = Y/Z and xy = T/Z (Hisil, Wong, Carter and Dawson 2008).
sub point {
    my ($x, $y) = @_;
    return [$x, $y, $ONE, product($x, $y)];
}

sub double {
    my ($x, $y, $z) = @{$_[0]};
    my $xx = product($x, $x);
    my $yy = product($y, $y);
    my $zz = product($z, $z);
    my $xy = $x + $y;
    my $h  = $yy + $xx;
    my $g  = $yy - $xx;
    my $e  = product($xy, $xy) - $h;
    my $f  = $zz + $zz - $g;
    return [product($e, $f), product($g, $h), product($f, $g), product($e, $h)];
}

sub add {
    my ($p, $q) = @_;
    my $a = product($p->[1] - $p->[0], $q->[1] - $q->[0]);
    my $b = product($p->[1] + $p->[0], $q->[1] + $q->[0]);
    my $c = product(product($p->[3], $D2), $q->[3]);
    my $d = product($p->[2], $q->[2] + $q->[2]);
    my ($e, $f, $g, $h) = ($b - $a, $d - $c, $d + $c, $b + $a);
    return [product($e, $f), product($g, $h), product($f, $g), product($e, $h)];
}

# decompress returns x and y of a point (RFC 8032 section 5.1.3), or nothing if there is none.
sub decompress {
    my ($bytes) = @_;
    my $odd = ord(substr $bytes, 31) >> 7;
    substr $bytes, 31, 1, chr(ord(substr $bytes, 31) & 0x7F);
    my $y  = number($bytes);
    my $yy = product($y, $y);
    my $u  = $yy - 1;
    my $v  = product($yy, $D) + 1;
    my $v3 = product(product($v, $v), $v);
    my $v7 = product(product($v3, $v3), $v);
    my $x  = product(product($u, $v3), product($u, $v7)->bmodpow(($P - 5) / 8, $P));
    my $vxx = product($v, product($x, $x));
    if (($vxx - $u)->bmod($P)) {
        return if ($vxx + $u)->bmod($P);
        $x = product($x, $SQRT_M1);
    }
    $x = $P - $x if $odd != ($x->is_odd ? 1 : 0);
    return ($x, $y);
}

sub number { return Math::BigInt->from_hex('0x' . unpack 'H*', reverse $_[0]) }

sub bytes {
    my ($number) = @_;
    my $hex = substr $number->as_hex, 2;
    return scalar reverse pack 'H*', '0' x (64 - length $hex) . $hex;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Ed25519::BigInt - Ed25519 verification with Math::BigInt

=head1 DESCRIPTION

One of the ways in which L<CPAN::TLog::Ed25519> verifies signatures: slow, some tenths of a second each, and without
any demand on the perl. Use it through that module, which refuses keys and signatures that this one does not expect.

Nothing here is secret, so nothing here takes constant time. Do not use it to sign.

=head1 METHODS

=head2 available

Always true.

=head2 name

C<bigint>.

=head2 verify($public, $message, $signature)

Whether the signature is the key's over the message. The scalar of the signature must be below the group's order.

=head2 on_curve($public)

Whether a canonically encoded y is that of a point.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
