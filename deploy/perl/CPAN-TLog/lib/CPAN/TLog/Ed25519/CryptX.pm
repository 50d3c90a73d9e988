package CPAN::TLog::Ed25519::CryptX;

use 5.016;
use strict;
use warnings;

our $VERSION = '0.001';

sub name { return 'cryptx' }

sub available { return eval { require Crypt::PK::Ed25519; 1 } ? 1 : 0 }

# verify is for keys and signatures that CPAN::TLog::Ed25519 has looked at: the library takes more than that.
sub verify {
    my ($class, $public, $message, $signature) = @_;
    my $valid = eval {
        my $key = Crypt::PK::Ed25519->new;
        $key->import_key_raw($public, 'public');
        $key->verify_message($signature, $message);
    };
    return $valid ? 1 : 0;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Ed25519::CryptX - Ed25519 verification with CryptX

=head1 DESCRIPTION

One of the ways in which L<CPAN::TLog::Ed25519> verifies signatures, if L<Crypt::PK::Ed25519> is installed. Use it
through that module, which refuses keys and signatures that this one does not expect.

=head1 METHODS

=head2 available

Whether Crypt::PK::Ed25519 can be loaded.

=head2 name

C<cryptx>.

=head2 verify($public, $message, $signature)

Whether the signature is the key's over the message. The scalar of the signature must be below the group's order.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
