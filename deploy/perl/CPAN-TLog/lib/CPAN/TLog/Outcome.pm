package CPAN::TLog::Outcome;

use 5.016;
use strict;
use warnings;

our $VERSION = '0.001';

# All outcomes in the order of precedence, their exit codes, and whether an installation stops with --mode require and
# with --mode prefer. What says that the question or the log is wrong comes before what says that the file is, and a
# bad proof before what such a proof would say.
my @OUTCOMES = (
    [usage           => 2,  1, 1],
    [error           => 1,  1, 1],
    [misbehaviour    => 15, 1, 1],
    ['invalid-proof' => 19, 1, 1],
    [policy          => 14, 1, 1],
    [upgrade         => 17, 1, 1],
    [mismatch        => 10, 1, 1],
    [revoked         => 18, 1, 1],
    [stale           => 16, 1, 0],
    [pending         => 12, 1, 0],
    ['not-logged'    => 11, 1, 0],
    [unverifiable    => 13, 1, 0],
    [verified        => 0,  0, 0],
);

my %RANK = map { $OUTCOMES[$_][0] => $_ } 0 .. $#OUTCOMES;

sub words { return map { $_->[0] } @OUTCOMES }

sub code { return $OUTCOMES[$RANK{$_[0]}][1] }

sub worst { return (sort { $RANK{$a} <=> $RANK{$b} } @_)[0] }

# stops: whatever is unknown stops, and a mode other than prefer is require.
sub stops {
    my ($outcome, $mode) = @_;
    return 1 if !exists $RANK{$outcome};
    return $OUTCOMES[$RANK{$outcome}][$mode eq 'prefer' ? 3 : 2];
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Outcome - what a verification ends in

=head1 DESCRIPTION

Every verification ends in exactly one outcome. The words and the exit codes are the same in every program of
pauselog, whatever language it is written in.

    word            code    it means
    verified           0    logged with these bytes, and the same for everyone
    error              1    a local failure
    usage              2    wrong options, or a file without its path
    mismatch          10    logged with other bytes
    not-logged        11    the log itself says so
    pending           12    logged, and not published yet
    unverifiable      13    there is no proof to be had
    policy            14    too few witnesses signed
    misbehaviour      15    the log contradicts itself
    stale             16    older than a limit
    upgrade           17    this program is too old, or cannot verify what it needs to
    revoked           18    the entry was voided
    invalid-proof     19    a proof that proves nothing

If several hold, it is the first in the order 2, 1, 15, 19, 14, 17, 10, 18, 16, 12, 11, 13, 0. The mode C<require> lets
pass nothing but C<verified>. The mode C<prefer> lets pass C<stale>, C<pending>, C<not-logged> and C<unverifiable> too: it
is for the time in which not everything is logged, and no protection against an attacker, who needs only to withhold
the proof.

=head1 FUNCTIONS

=head2 words

All outcomes, in the order of precedence.

=head2 code($word)

The exit code.

=head2 worst(@words)

The first in the order of precedence.

=head2 stops($word, $mode)

Whether an installation must not go on.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
