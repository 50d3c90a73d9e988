package CPAN::TLog::Ed25519;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Error;

our $VERSION = '0.001';

# The ways to verify, the first that is there and works is taken. The first needs nothing but a perl of 64
# bits, and the second and third are faster than the last.
my @WAYS = (
    [native  => 'CPAN::TLog::Ed25519::Native'],
    [cryptx  => 'CPAN::TLog::Ed25519::CryptX'],
    [openssl => 'CPAN::TLog::Ed25519::OpenSSL'],
    [bigint  => 'CPAN::TLog::Ed25519::BigInt'],
);

# Numbers with the highest digit first, as hex, so that they compare as strings.
my $P = '7' . 'f' x 61 . 'ed';
my $L = '1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed';

# The y, with the lowest byte first, of the eight points whose order divides the cofactor, 8.
my %SMALL_ORDER = map { (pack('H*', $_) => 1) } qw(
    0000000000000000000000000000000000000000000000000000000000000000
    0100000000000000000000000000000000000000000000000000000000000000
    26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05
    c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a
    ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
);

my $way;

# check_public returns what is wrong with a public key, or undef. With a point of small order anyone can sign, and a y
# that is not below p is a second encoding of another key (RFC 8032 section 5.1.3).
sub check_public {
    my ($public) = @_;
    return sprintf 'expected a public key of 32 bytes, found %d', length $public if length $public != 32;
    my $y = substr($public, 0, 31) . chr(ord(substr $public, 31) & 0x7F);
    return 'public key is a point of small order, with which anyone can sign' if $SMALL_ORDER{$y};
    return 'public key is not encoded canonically: its y is not below 2^255-19' if big_endian($y) ge $P;
    return 'public key is not a point of the curve' if !field()->on_curve($public);
    return;
}

sub verify {
    my ($public, $message, $signature) = @_;
    return 0 if length $signature != 64 || check_cached($public);

    # A signature whose scalar is not below the order is another encoding of one that is (RFC 8032 section 5.1.7).
    return 0 if big_endian(substr $signature, 32) ge $L;
    $way ||= choose($ENV{CPAN_TLOG_ED25519});
    return $way->verify($public, $message, $signature);
}

# Keys are few, and checking one costs a fifth of a signature.
my %checked;

sub check_cached {
    my ($public) = @_;
    %checked = () if keys %checked >= 256;
    $checked{$public} = [check_public($public)] if !$checked{$public};
    return $checked{$public}[0];
}

sub implementation {
    $way ||= choose($ENV{CPAN_TLOG_ED25519});
    return $way->name;
}

sub force {
    my ($name) = @_;
    $way = choose($name);
    return;
}

sub available {
    return grep { defined load($_) } map { $_->[0] } @WAYS;
}

sub choose {
    my ($wanted) = @_;
    if (defined $wanted && length $wanted) {
        my $class = load($wanted);
        CPAN::TLog::Error->throw(local => 'expected one of %s that works here to verify Ed25519 with, found %s',
            join(', ', map { $_->[0] } @WAYS), $wanted) if !$class;
        return $class;
    }
    for my $name (map { $_->[0] } @WAYS) {
        my $class = load($name);
        return $class if $class;
    }
    CPAN::TLog::Error->throw(local => 'nothing on this machine verifies Ed25519 signatures as it should');
}

# load returns the class of that name if it is there and passes its test.
my %loaded;

sub load {
    my ($name) = @_;
    return $loaded{$name} if exists $loaded{$name};
    my ($class) = map { $_->[1] } grep { $_->[0] eq $name } @WAYS;
    return if !$class;
    (my $file = "$class.pm") =~ s{::}{/}g;
    my $works = eval { require $file; $class->available && works($class) };
    return $loaded{$name} = $works ? $class : undef;
}

# works tests an implementation, so that a perl or a library that calculates wrongly is not asked: with the third test
# of RFC 8032 section 7.1, and with one bit of its message wrong.
sub works {
    my ($class) = @_;
    my $public    = pack 'H*', 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025';
    my $message   = pack 'H*', 'af82';
    my $signature = pack 'H*', '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac'
        . '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a';
    return $class->verify($public, $message, $signature) && !$class->verify($public, "\xAF\x83", $signature);
}

# field returns a class that knows the curve's points.
sub field { return load('native') || load('bigint') }

sub big_endian { return unpack 'H*', reverse $_[0] }

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Ed25519 - verify Ed25519 signatures with what is there

=head1 SYNOPSIS

    use CPAN::TLog::Ed25519;

    die "not a key to use\n" if CPAN::TLog::Ed25519::check_public($public);
    die "forged\n" if !CPAN::TLog::Ed25519::verify($public, $message, $signature);

=head1 DESCRIPTION

Ed25519 (RFC 8032) is not part of any perl. This module verifies signatures in one of four ways, and takes the
first that is there and passes a test:

    native    pure Perl, with 64-bit integers          about 11 ms a signature
    cryptx    the module CryptX                        about 3 ms
    openssl   the openssl program, 3.0 or newer        about 10 ms
    bigint    pure Perl, with Math::BigInt             some tenths of a second

The environment variable C<CPAN_TLOG_ED25519> names one to use in any case, or to fail if it is not there.

All four give the same answers, because what they differ in is decided here: signatures whose scalar is not below the
group's order are refused, and so are public keys that are not encoded canonically, are no points of the curve, or are
of small order. As in Go's crypto/ed25519, the equation is checked without the cofactor, by comparing encodings.

=head1 FUNCTIONS

=head2 verify($public, $message, $signature)

Whether the 64 bytes are a signature over the message by the key of 32 bytes.

=head2 check_public($public)

What is wrong with a public key, or undef.

=head2 implementation

The name of the way in use.

=head2 force($name)

Uses that way from now on, or dies if it does not work here. undef is the usual choice.

=head2 available

The names of all ways that work here.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
