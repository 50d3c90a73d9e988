#!perl

# Many processes at once, and processes that are killed.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha256_hex);
use POSIX ();
use Test::More;

our $before_rename;

BEGIN {
    *CORE::GLOBAL::rename = sub ($$) {
        $before_rename->() if $before_rename;
        return CORE::rename($_[0], $_[1]);
    };
}

use IO::Handle ();
use Spooled qw($root $spool put events clear names);

# A child must not run what the test does at its end.
sub child {
    my ($code) = @_;
    my $child = fork // die "fork: $!";
    return $child if $child;
    eval { $code->(); 1 } or POSIX::_exit(1);
    POSIX::_exit(0);
}

my $PROCESSES = 20;
my $CALLS     = 50;
my %bytes     = map { $_ => "of process $_" x 3000 } 1 .. $PROCESSES;
for my $process (1 .. $PROCESSES) {
    put(sprintf('authors/id/E/ET/ETHER/x-%d-%d.tgz', $process, $_), $bytes{$process}) for 1 .. $CALLS;
}
my @children = map {
    my $process = $_;
    child(sub {
        for my $call (1 .. $CALLS) {
            PAUSE::TLog::uploaded("$root/authors/id/E/ET/ETHER/x-$process-$call.tgz", by => 'ETHER') or die;
        }
    });
} 1 .. $PROCESSES;
my $failed = 0;
for my $child (@children) {
    waitpid $child, 0;
    $failed++ if $?;
}
is($failed, 0, 'each call of each process is true');
my %found;
for my $event (events()) {    # which dies when one is torn
    my ($process, $call) = $event->{path} =~ m{/x-([0-9]+)-([0-9]+)[.]tgz\z} or next;
    my $expected = $bytes{$process};
    $found{"$process $call"}++ if $event->{sha256} eq sha256_hex($expected) && $event->{size} == length $expected;
}
is(scalar keys %found, $PROCESSES * $CALLS, 'each file is spooled');
is(scalar names('new'), $PROCESSES * $CALLS, 'once');
is_deeply([names('tmp')], [], 'tmp is empty');

# Killed at a step: only tmp knows.
my $file = put('authors/id/E/ET/ETHER/x.tgz', 'x' x 30_000);
my %die_at = (
    'before the sync' => sub {
        no warnings 'redefine';
        *IO::Handle::sync = sub { kill KILL => $$ };
    },
    'before the rename' => sub { $before_rename = sub { kill KILL => $$ } },
);
for my $step (sort keys %die_at) {
    clear();
    waitpid child(sub { $die_at{$step}->(); PAUSE::TLog::uploaded($file) }), 0;
    is($? & 127, POSIX::SIGKILL(), "killed $step");
    is_deeply([names('new')], [], "killed $step: nothing is in new");
    is(scalar names('tmp'), 1, "killed $step: a file is left in tmp");
    ok(PAUSE::TLog::uploaded($file), "killed $step: the next call works");
    is(scalar events(), 1, "killed $step: and is spooled");
}

# Killed at any moment.
my ($whole, $left) = (0, 0);
for my $round (1 .. 40) {
    clear();
    pipe my $from, my $to or die $!;
    my $child = child(sub {
        while (1) {
            PAUSE::TLog::uploaded($file) or die;
            syswrite $to, 'x';
        }
    });
    close $to;
    for (1 .. 1 + $round % 7) { sysread $from, my $byte, 1 }
    kill KILL => $child;
    waitpid $child, 0;
    my $told = 1 + $round % 7;
    $whole++ if grep({ $_->{size} == 30_000 } events()) >= $told && scalar(names('new')) == scalar(my @all = events());
    $left++  if names('tmp') > 1;
}
is($whole, 40, 'what was told as written is there, and new has whole files alone');
is($left, 0, 'tmp keeps one file at most of a process that is killed');

done_testing;
