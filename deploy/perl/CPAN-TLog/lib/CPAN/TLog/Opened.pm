package CPAN::TLog::Opened;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Encoding qw(is_number quote);
use CPAN::TLog::Error;

our $VERSION = '0.001';

# By how many seconds a signature's time may be ahead of the clock that it is compared with.
our $FUTURE_TOLERANCE = 600;

# new verifies a note's signatures. Lines of keys that the policy does not have are ignored, also when name or id alone
# coincide: that is how new keys come into use.
sub new {
    my ($class, $policy, $note) = @_;

    # Before any signature: the lines may well be of known witnesses, but they speak of a log that is none of ours.
    unknown('no log key is named %s', quote($note->origin)) if !$policy->knows_origin($note->origin);
    my $self = bless { note => $note, policy => $policy, log_signatures => [], cosignatures => [] }, $class;
    for my $line ($note->signatures) {
        my $known = $policy->known($line) or next;
        my $key   = $known->{key};
        my $time  = $key->verify($note->text, $line);
        my $found = { key => $key, time => $time, judged => $key->is_judged };
        push @{$self->{log_signatures}}, $found if $known->{log} && $key->name eq $note->origin;
        push @{$self->{cosignatures}}, { %{$found}, witness => $known->{witness} } if defined $known->{witness};
    }
    unknown('no signature by a known key of %s', quote($note->origin)) if !@{$self->{log_signatures}};
    return $self;
}

sub unknown {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw('unknown-log' => "not signed by a log of the policy: $format", @args);
}

sub note   { return $_[0]{note} }
sub origin { return $_[0]{note}->origin }
sub size   { return $_[0]{note}->size }
sub root   { return $_[0]{note}->root }

sub log_signatures { return grep { $_->{judged} } @{$_[0]{log_signatures}} }
sub cosignatures   { return grep { $_->{judged} } @{$_[0]{cosignatures}} }

# is_signed says whether the log signed it, for all that this program can verify.
sub is_signed { return $_[0]->log_signatures ? 1 : 0 }

# quorum is 'met', 'unmet', or, if it depends on signatures that this program cannot verify, 'unknown'.
sub quorum {
    my ($self) = @_;
    return $self->judge(sub { 1 });
}

# fresh is 'met' if the checkpoint was the newest at some time not longer than the seconds before now: the quorum,
# evaluated over only those cosignatures that are young enough. With `quorum none` it is the log's own time that counts.
sub fresh {
    my ($self, $now, $max_age) = @_;
    my $young = sub {
        my ($time) = @_;

        # What has more digits is far in the future, and a number that doubles round.
        return 0 if $time eq '0' || !is_number($time);
        return $time > $now ? $time - $now <= $FUTURE_TOLERANCE : $now - $time <= $max_age;
    };
    if ($self->{policy}->quorum_none) {
        my @young = grep { $young->($_->{time}) } @{$self->{log_signatures}};
        return (grep { $_->{judged} } @young) ? 'met' : @young ? 'unknown' : 'unmet';
    }
    return $self->judge($young);
}

sub judge {
    my ($self, $counts) = @_;
    my (%judged, %any);
    for my $found (grep { $counts->($_->{time}) } @{$self->{cosignatures}}) {
        $any{$found->{witness}} = 1;
        $judged{$found->{witness}} = 1 if $found->{judged};
    }
    return 'met'     if $self->{policy}->satisfied(sub { $judged{$_[0]} });
    return 'unknown' if $self->{policy}->satisfied(sub { $any{$_[0]} });
    return 'unmet';
}

# ignored counts the lines of which nothing is known.
sub ignored {
    my ($self) = @_;
    return scalar grep { my $known = $self->{policy}->known($_); !$known || !$known->{key}->is_judged }
        $self->{note}->signatures;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Opened - a checkpoint whose signatures were verified

=head1 DESCRIPTION

What C<open> of L<CPAN::TLog::Policy> returns. Every signature line of a key of the policy was verified, but for those
of ML-DSA keys, which this distribution cannot verify: they count for nothing, and where they would have decided
something the answer is C<unknown>.

=head1 METHODS

=head2 note, origin, size, root

The L<CPAN::TLog::Note>, and what it says.

=head2 log_signatures, cosignatures

Hashes with C<key>, C<time> and, of a cosignature, C<witness>: those that verified.

=head2 is_signed

Whether one of the log's own signatures verified.

=head2 quorum

C<met>, C<unmet> or C<unknown>.

=head2 fresh($now, $max_age)

The same for the quorum over only those cosignatures that are at most so many seconds old.

=head2 ignored

How many lines count for nothing.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
