package CPAN::TLog;

use 5.016;
use strict;
use warnings;

our $VERSION = '0.001';

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog - check that what was downloaded from CPAN is what PAUSE published

=head1 SYNOPSIS

On the command line:

    pauselog-verify --policy pause.policy --path authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz Try-Tiny-0.31.tar.gz

In the CPAN shell, from then on for everything that it installs:

    o conf plugin_list push CPAN::Plugin::TLog=policy,/etc/pauselog/policy
    o conf commit

=head1 DESCRIPTION

pauselog is a public list of what PAUSE published: an append-only log with one entry for each file, its path, SHA-256
digest and size. A I<proof> is a small text file, F<FILE.tlog-proof>, that shows that an entry is in the log. It works
offline, and needs no account. I<Witnesses>, programs that independent people run, sign a state of the log only if
everything that they signed before is in it: so the list is the same for everyone. A I<policy> is a text file that names
the log that you trust, by its public key, and says which witnesses must have signed.

This distribution checks files against proofs and a policy, in pure Perl and with core modules only. Its answers are
those of C<pauselog verify>, word by word and with the same exit codes.

What it says: this file was logged, and the log is the same for everyone. What it does not say: that the file is
harmless. A misspelt name's distribution, or a malicious author's, is logged like everybody else's.

=head1 PARTS

=over 4

=item L<pauselog-verify>

The command.

=item L<CPAN::Plugin::TLog>

The plugin for the CPAN shell, CPAN 2.10 or newer.

=item L<CPAN::TLog::Verify>

The verifier, for programs. L<CPAN::TLog::Outcome> lists what it can say.

=item L<CPAN::TLog::Search>, L<CPAN::TLog::Source>

Where proofs are found, and in which order.

=item L<CPAN::TLog::Tree>, L<CPAN::TLog::Pack>

Proofs from the static files of a log, and many proofs in one file.

=item L<CPAN::TLog::Policy>, L<CPAN::TLog::Bundle>, L<CPAN::TLog::Note>, L<CPAN::TLog::Entry>, L<CPAN::TLog::Key>

The formats.

=item L<CPAN::TLog::Ed25519>

Signatures.

=back

=head1 LIMITS

Post-quantum signatures (ML-DSA-44) cannot be verified here. They are passed over; where a policy needs them the outcome
is C<upgrade>, and C<pauselog verify> goes on.

Proof trees of up to 10^15-1 entries are read, and packs of proofs of up to 64 MiB.

C<https> needs L<IO::Socket::SSL>. Without it, sources of proofs that need it are passed over, and it is said why.

Perl 5.16 or newer is needed, and CPAN 2.10 or newer for the plugin. Perls without 64-bit integers work, and take some
tenths of a second for a signature.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
