package CPAN::TLog::Key;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256 sha256_hex);

use CPAN::TLog::Ed25519;
use CPAN::TLog::Encoding qw(canonical_base64 check_name decimal_of_u64 encode_base64 fits_63_bits quote);
use CPAN::TLog::Error;

our $VERSION = '0.001';

# The signature types of C2SP signed-note that are known here: how long public key and signature are, and whether a
# time of eight bytes stands before the signature.
my %TYPES = (
    1 => { name => 'Ed25519 (0x01)',             public => 32,    signature => 64,    time => 0 },
    4 => { name => 'Ed25519 cosignature (0x04)', public => 32,    signature => 64,    time => 8 },
    6 => { name => 'ML-DSA-44 (0x06)',           public => 1_312, signature => 2_420, time => 8 },
);

# parse reads name+id+base64(type, public key). The id is what guards a key against a slip of the hand.
sub parse {
    my ($class, $text) = @_;
    fail('expected a verifier key, found a private one') if $text =~ /\APRIVATE\+KEY\+/a;
    my ($name, $id, $encoded) = split /\+/, $text, 3;
    fail(q{expected a name, a key id and base64 joined by '+'}) if !defined $encoded;
    my $bytes = canonical_base64($encoded);
    fail('of %s: expected canonical base64 of a type and a key as its last part', quote($name))
        if !defined $bytes || !length $bytes;
    my $wrong = check_name($name);
    fail('%s', $wrong) if $wrong;
    my ($type, $public) = (ord $bytes, substr $bytes, 1);
    my $known = $TYPES{$type};
    fail('expected type 0x01, 0x04 or 0x06, found 0x%02x', $type) if !$known;
    fail('type %s: expected a public key of %d bytes, found %d', $known->{name}, $known->{public}, length $public)
        if length $public != $known->{public};

    # With t1 = 0 (FIPS 204 section 7.2) anyone can sign, as with a point of small order.
    $wrong = $type != 6 ? CPAN::TLog::Ed25519::check_public($public)
        : substr($public, 32) =~ /[^\x00]/ ? undef
        :                                    'public key has t1 = 0, with which anyone can sign';
    fail('type %s: %s', $known->{name}, $wrong) if $wrong;
    my $expected = substr sha256_hex("$name\n$bytes"), 0, 8;
    fail('of %s: expected key id %s, found %s', quote($name), $expected, quote($id)) if $id ne $expected;
    return bless { name => $name, id => $id, type => $type, public => $public }, $class;
}

sub fail {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(key => "invalid key: $format", @args);
}

sub name      { return $_[0]{name} }
sub id        { return $_[0]{id} }
sub type      { return $_[0]{type} }
sub type_name { return $TYPES{$_[0]{type}}{name} }
sub public    { return $_[0]{public} }

# label is how signature lines and policies name a key.
sub label { return "$_[0]{name}+$_[0]{id}" }

sub as_string { return $_[0]->label . q{+} . encode_base64(chr($_[0]{type}) . $_[0]{public}) }

# is_judged reports whether this program can verify the key's signatures.
sub is_judged { return $_[0]{type} != 6 }

# verify returns the time of a signature line over a checkpoint's text, 0 if its type has none. Of ML-DSA it looks at
# the form only.
sub verify {
    my ($self, $text, $line) = @_;
    my $known = $TYPES{$self->{type}};
    my $blob  = $line->{blob};
    my $size  = $known->{time} + $known->{signature};
    $self->bad('expected %d bytes for type %s, found %d', $size, $known->{name}, length $blob) if length $blob != $size;
    if (!$known->{time}) {
        $self->bad('it is not over this text') if !CPAN::TLog::Ed25519::verify($self->{public}, $text, $blob);
        return '0';
    }

    # Time 0 withdraws the claim that makes a cosignature worth counting: the largest tree that was seen.
    my $time = decimal_of_u64(substr $blob, 0, 8);
    $self->bad('expected a time between 1 and 2^63-1, found %s', $time) if $time eq '0' || !fits_63_bits($time);
    if ($self->is_judged) {
        my $message = "cosignature/v1\ntime $time\n$text";
        $self->bad('it is not over this checkpoint and time %s', $time)
            if !CPAN::TLog::Ed25519::verify($self->{public}, $message, substr $blob, 8);
    }
    return $time;
}

sub bad {
    my ($self, $format, @args) = @_;
    CPAN::TLog::Error->throw('bad-signature' => "bad signature of %s: $format", $self->label, @args);
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Key - a named public key (C2SP signed-note)

=head1 SYNOPSIS

    my $key = CPAN::TLog::Key->parse('log.example/pause+13830bfb+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c');

=head1 DESCRIPTION

A key of type 0x01 signs a log's checkpoints, one of type 0x04 a witness's cosignatures, and one of type 0x06
(ML-DSA-44) either. Keys with which anyone can sign are refused. Signatures of type 0x06 are not verified by this
distribution: only their form is looked at, and L<CPAN::TLog::Policy> counts them for nothing.

=head1 METHODS

=head2 parse($text)

Returns the key, or dies with a L<CPAN::TLog::Error>.

=head2 name, id, type, public

What it is made of. The id is eight hex digits.

=head2 type_name, label, as_string

For people; as policies and signature lines name it; and as C<parse> reads it.

=head2 is_judged

Whether this distribution can verify the key's signatures.

=head2 verify($text, $line)

Returns the time in the signature line, or dies with a C<bad-signature>.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
