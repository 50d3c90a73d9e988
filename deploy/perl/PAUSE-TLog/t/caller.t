#!perl

# What a caller finds after a call: all that it had before, its time-outs included.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Cwd qw(getcwd);
use POSIX ();
use Test::More;
use Time::HiRes qw(setitimer ITIMER_REAL);

our $before_rename;

BEGIN {
    *CORE::GLOBAL::rename = sub ($$) {
        $before_rename->() if $before_rename;
        return CORE::rename($_[0], $_[1]);
    };
}

use Spooled qw($root $spool put events clear names);

my $file = put('authors/id/E/ET/ETHER/x.tgz', 'x' x 30_000);
put('modules/06perms.txt', 'perms');

my %call = (
    'an upload'              => sub { PAUSE::TLog::uploaded($file, by => 'ETHER') },
    'an index'               => sub { PAUSE::TLog::changed("$root/modules/06perms.txt") },
    'a deletion'             => sub { PAUSE::TLog::deleted($file) },
    'what is passed over'    => sub { PAUSE::TLog::changed("$root/authors/02STAMP") },
    'a file that is missing' => sub { PAUSE::TLog::uploaded("$file.missing.tgz") },
    'a spool that is missing' => sub {
        local $PAUSE::Config = { %{$PAUSE::Config}, TLOG_SPOOL => '/nowhere' };
        PAUSE::TLog::uploaded($file);
    },
    'no spool' => sub { local $PAUSE::Config = { MLROOT => "$root/authors/id/" }; PAUSE::TLog::uploaded($file) },
    'nonsense' => sub { PAUSE::TLog::uploaded(undef); PAUSE::TLog::uploaded([], by => {}, time => []) },
);

local $SIG{__WARN__} = sub { };
local $SIG{__DIE__}  = sub { fail("the handler for exceptions is called: @_") };
local $SIG{ALRM}     = sub { fail('an alarm') };
local $SIG{CHLD}     = sub { fail('a child') };

sub state_now {
    my $mask = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask);
    return {
        cwd     => getcwd(),
        umask   => umask,
        names   => [$_, $0],
        signals => { map { $_ => "$SIG{$_}" } grep { defined $SIG{$_} } keys %SIG },
        mask    => [map { $mask->ismember($_) } 1 .. 31],
        output  => [select, map { $_ // 'undef' } $/, $\, $,, $;, $|],
        handles => [sort map { readlink // () } grep { !m{/fd/[0-2]\z} } glob '/proc/self/fd/*'],
    };
}

# run calls with the errors of an earlier failure, and returns what is in their place afterwards.
sub run {
    my ($code) = @_;
    open my $stdout, '>&', \*STDOUT or die;
    open my $stderr, '>&', \*STDERR or die;
    open STDOUT, '>', "$root/printed" or die;
    open STDERR, '>&', \*STDOUT or die;
    ($@, $!, $?) = ('an error', POSIX::ENOTTY(), 42 << 8);
    $code->();
    my @after = ("$@", $! + 0, $?);
    open STDOUT, '>&', $stdout or die;
    open STDERR, '>&', $stderr or die;
    return @after;
}

for my $name (sort keys %call) {
    clear();
    my ($before, $after, @errors);
    {
        # A program with settings that few others have.
        local ($_, $/, $\, $,) = ('mine', 'r', 'o', 'f');
        run(sub { });
        $before = state_now();
        @errors = run($call{$name});
        $after  = state_now();
    }
    is_deeply(\@errors, ['an error', POSIX::ENOTTY(), 42 << 8], "$name: \$@, \$! and \$? are what they were");
    is_deeply($after, $before, "$name: nothing else has changed");
    is(-s "$root/printed", 0, "$name: nothing is printed");
}

# In a list, a call is one value.
is(scalar(my @list = PAUSE::TLog::changed("$root/authors/02STAMP")), 1, 'false is one value');

# An alarm that goes off in the middle of a call.
{
    my $handled;
    local $SIG{ALRM} = sub { $handled = [names('new')]; die "timeout\n" };
    local $SIG{__DIE__} = sub { };
    local $before_rename = sub { kill ALRM => $$ };
    clear();
    my $ended = eval { PAUSE::TLog::uploaded($file); for (1 .. 10) { } 1 };
    ok(!$ended, 'the time-out of a caller ends the caller');
    is($@, "timeout\n", 'with its own exception');
    is(scalar @{$handled // []}, 1, 'after the event was written whole');
    is(scalar events(), 1, 'which stays');
    is_deeply([names('tmp')], [], 'tmp is empty');
}
for my $signal (qw(HUP INT QUIT TERM USR1 USR2 CHLD)) {
    my $handled = 0;
    local $SIG{$signal} = sub { $handled++ };
    local $before_rename = sub { kill $signal => $$; select undef, undef, undef, 0 for 1 .. 10; die 'early' if $handled };
    ok(PAUSE::TLog::uploaded($file), "$signal in the middle of a call does not end it");
    is($handled, 1, "$signal is handled after it, once");
}

# And at whatever moment: none is lost, and no signal stays blocked.
my %call_of = (
    'calls that write'  => sub { PAUSE::TLog::uploaded($file) },
    'calls that do not' => sub { PAUSE::TLog::changed("$root/authors/02STAMP") },
);
for my $name (sort keys %call_of) {
    my ($lost, $blocked, $fired) = (0, 0);
    local $SIG{__DIE__} = sub { };
    local $SIG{ALRM}    = sub { $fired = 1; die "timeout\n" };
    for my $try (1 .. 300) {
        clear();
        $fired = 0;
        eval {
            setitimer(ITIMER_REAL, $try * 7e-6);
            for (1 .. 100_000) { last if $fired; $call_of{$name}->() }
            setitimer(ITIMER_REAL, 0);
        };
        $lost++ if $@ ne "timeout\n";
        my $mask = POSIX::SigSet->new;
        POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask);
        $blocked++ if $mask->ismember(POSIX::SIGALRM());
        POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
        last if $lost || $blocked;
    }
    is($lost, 0, "$name: no time-out is lost");
    is($blocked, 0, "$name: no signal stays blocked");
}

done_testing;
