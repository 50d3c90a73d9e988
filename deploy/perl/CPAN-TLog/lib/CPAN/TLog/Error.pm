package CPAN::TLog::Error;

use 5.016;
use strict;
use warnings;

use overload
    q{""}    => sub { $_[0]->message },
    bool     => sub { 1 },
    fallback => 1;

our $VERSION = '0.001';

sub throw {
    my ($class, $kind, $format, @args) = @_;
    my $message = @args ? sprintf($format, @args) : $format;
    die bless { kind => $kind, message => $message }, $class;
}

# caught turns whatever eval left behind into an error. What is none of ours is a fault of this program or of the
# machine, and so a local one.
sub caught {
    my ($class, $error) = @_;
    return $error if ref $error && eval { $error->isa($class) };
    my $message = defined $error ? "$error" : 'unknown error';
    $message =~ s/\s+\z//;
    return bless { kind => 'local', message => $message }, $class;
}

sub kind    { return $_[0]{kind} }
sub message { return $_[0]{message} }

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Error - what was expected and what was found

=head1 SYNOPSIS

    my $bundle = eval { CPAN::TLog::Bundle->parse($text) };
    if (!$bundle) {
        my $error = CPAN::TLog::Error->caught($@);
        print $error->kind, ': ', $error->message, "\n";
    }

=head1 DESCRIPTION

All modules of this distribution die with objects of this class. The C<kind> is one word, for programs:

=over 4

=item malformed

The text is not what it should be.

=item version

It is a proof bundle of a later version.

=item extension

It is a checkpoint with lines after its root.

=item unknown-log

No log of the policy signed it.

=item bad-signature

A signature line of a known key does not verify.

=item proof

The hashes do not lead to the root.

=item upgrade

It is well formed, and newer than this program.

=item key, policy

It is no public key, or no policy, to use.

=item incomplete, unlisted, invalid, unreachable

A proof tree lacks a file, or a path in its index; or has what its checkpoint does not imply; or cannot be read now.

=item local

A file cannot be read, or the like.

=back

=head1 METHODS

=head2 throw($kind, $format, @args)

Dies with an error. The message is made by C<sprintf> if there are arguments.

=head2 caught($@)

Returns what was caught as an error of this class.

=head2 kind, message

The word, and the sentence.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
