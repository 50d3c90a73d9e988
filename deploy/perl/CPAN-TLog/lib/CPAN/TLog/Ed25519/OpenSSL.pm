package CPAN::TLog::Ed25519::OpenSSL;

use 5.016;
use strict;
use warnings;

use File::Spec;
use File::Temp ();

our $VERSION = '0.001';

# What stands before the 32 bytes of a public key in DER (RFC 8410 section 4).
my $DER = pack 'H*', '302a300506032b6570032100';

my $program;

sub name { return 'openssl' }

# available looks for an openssl that can: from 3.0 on, a message can be signed that is not a hash of one.
sub available {
    return 1 if $program;
    for my $dir (File::Spec->path) {
        next if !File::Spec->file_name_is_absolute($dir);
        my $file = File::Spec->catfile($dir, $^O eq 'MSWin32' ? 'openssl.exe' : 'openssl');
        next if !-f $file || !-x _;
        my $version = output($file, 'version') // q{};
        if ($version =~ /\AOpenSSL ([0-9]+)\./a && $1 >= 3) {
            $program = $file;
            return 1;
        }
    }
    return 0;
}

# verify is for keys and signatures that CPAN::TLog::Ed25519 has looked at.
sub verify {
    my ($class, $public, $message, $signature) = @_;
    # The program does not take a message of no bytes.
    return CPAN::TLog::Ed25519::field()->verify($public, $message, $signature) if !length $message;
    my $dir   = File::Temp->newdir('tlog-XXXXXXXX', TMPDIR => 1);
    my %files = (key => $DER . $public, message => $message, signature => $signature);
    for my $name (keys %files) {
        open my $out, '>:raw', "$dir/$name" or return 0;
        print {$out} $files{$name} or return 0;
        close $out or return 0;
    }
    my $said = output(
        $program, qw(pkeyutl -verify -pubin -keyform DER -rawin),
        -inkey => "$dir/key", -in => "$dir/message", -sigfile => "$dir/signature",
    );
    return defined $said && $said =~ /^Signature Verified Successfully$/m ? 1 : 0;
}

# output runs a program, without a shell, and returns what it wrote if it ended well.
sub output {
    my (@command) = @_;
    my $out = File::Temp->new;
    my $null = File::Spec->devnull;
    open my $saved_out, '>&', \*STDOUT or return;
    open my $saved_err, '>&', \*STDERR or return;
    my $status = -1;
    if (open(STDOUT, '>&', $out) && open STDERR, '>', $null) {
        local $?;
        $status = system {$command[0]} @command;
    }
    open STDOUT, '>&', $saved_out or return;
    open STDERR, '>&', $saved_err or return;
    return if $status != 0;
    seek $out, 0, 0;
    read $out, my $text, 4_096;
    return $text;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Ed25519::OpenSSL - Ed25519 verification with the openssl program

=head1 DESCRIPTION

One of the ways in which L<CPAN::TLog::Ed25519> verifies signatures, if C<openssl> 3.0 or newer is in the C<PATH>.
Use it through that module, which refuses keys and signatures that this one does not expect.

=head1 METHODS

=head2 available

Whether there is such a program.

=head2 name

C<openssl>.

=head2 verify($public, $message, $signature)

Whether the signature is the key's over the message. The scalar of the signature must be below the group's order.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
