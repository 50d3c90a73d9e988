#!perl

# What the state of the spool does to a call: nothing that the caller would notice.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use File::Path qw(make_path remove_tree);
use Test::More;

# A disk that fails at one step.
my %fails;

BEGIN {
    *CORE::GLOBAL::rename = sub ($$) {
        return CORE::rename($_[0], $_[1]) if !$fails{rename};
        $! = $fails{rename};
        return 0;
    };
    *CORE::GLOBAL::syswrite = sub (*$;$$) {
        return CORE::syswrite($_[0], $_[1]) if !$fails{syswrite} && !$fails{short};
        return CORE::syswrite($_[0], $_[1], 10) if $fails{short};
        $! = $fails{syswrite};
        return;
    };
}

use Errno ();
use IO::Handle ();
use Spooled qw($root $spool put events clear names reports);

my $file = put('authors/id/E/ET/ETHER/x.tgz', 'x');
my $true;

sub call { return reports(sub { $true = PAUSE::TLog::uploaded($file) }) }

sub fails {
    my ($name, $why) = @_;
    my @said = call();
    ok(!$true, "$name: false");
    is(scalar @said, 1, "$name: said once");
    like($said[0], qr/\APAUSE::TLog: upload authors\/id\/E\/ET\/ETHER\/x[.]tgz: cannot write to the spool: .*$why[^\n]*\n\z/,
        "$name: with path and reason");
    return;
}

sub works {
    my ($name) = @_;
    is_deeply([call()], [], "$name: nothing is said");
    ok($true, "$name: true");
    is(scalar events(), 1, "$name: one file");
    is_deeply([names('tmp')], [], "$name: tmp is empty");
    is((stat((glob "$spool/new/*")[0]))[2] & oct 7777, oct 644, "$name: the reader can read it");
    clear();
    return;
}

works('a spool');
for my $mask (0, oct 77, oct 777) {
    my $before = umask $mask;
    works(sprintf 'a umask of %03o', $mask);
    umask $before;
}

for my $none (undef, q{}) {
    local $PAUSE::Config = { %{$PAUSE::Config}, TLOG_SPOOL => $none };
    is_deeply([call()], [], 'no spool: nothing is said');
    ok(!$true, 'no spool: false');
}
{
    local $PAUSE::Config = { MLROOT => $PAUSE::Config->{MLROOT} };
    local $ENV{PAUSE_TLOG_SPOOL} = $spool;
    works('a spool that the environment names');
}
{
    local $ENV{PAUSE_TLOG_SPOOL} = '/nowhere';
    works('the configuration before the environment');
    local $PAUSE::Config = { %{$PAUSE::Config}, TLOG_SPOOL => q{} };
    is_deeply([call()], [], 'switched off in the configuration');
}
{
    local $PAUSE::Config = undef;
    local $ENV{PAUSE_TLOG_SPOOL} = $spool;
    is_deeply([call()], [], 'before PAUSE has a configuration');
    is($PAUSE::Config, undef, 'and none comes into being');
}

for my $folder ('/nowhere/spool', 'relative', '/dev/null', "$root/modules", "$spool\0") {
    local $PAUSE::Config = { %{$PAUSE::Config}, TLOG_SPOOL => $folder };
    fails("the spool $folder" =~ tr/\0/0/r, q{});
}

$fails{syswrite} = Errno::ENOSPC();
fails('a full disk', 'write: No space left on device');
%fails = (short => 1);
fails('a disk that is full within a line', 'write: 10 bytes of');
%fails = (rename => Errno::EXDEV());
fails('a rename across file systems', 'rename to .*: Invalid cross-device link');
%fails = ();
{
    no warnings 'redefine';
    local *IO::Handle::sync = sub { $! = Errno::EIO(); return };
    fails('a disk that does not sync', 'sync: Input/output error');
}
is_deeply([names('new'), names('tmp')], [], 'none of them left a file');

for my $part (qw(tmp new)) {
    remove_tree("$spool/$part");
    fails("no $part folder", 'No such file or directory');
    open my $out, '>', "$spool/$part" or die $!;
    fails("a file in place of the $part folder", 'Not a directory');
    unlink "$spool/$part";
    make_path("$spool/$part");
    is_deeply([names('new'), names('tmp')], [], "without $part no file is left");
}
works('a spool that is there again');

# The kernel's own limit on the size of a file, which comes with a signal that ends a program.
my $limited = <<'END';
    $PAUSE::Config = { MLROOT => "$ARGV[0]/authors/id/", TLOG_SPOOL => $ARGV[1] };
    require PAUSE::TLog;
    $SIG{__WARN__} = sub { syswrite STDOUT, $_[0] };
    my $true = PAUSE::TLog::uploaded("$ARGV[0]/authors/id/E/ET/ETHER/x.tgz");
    syswrite STDOUT, "true=$true XFSZ=" . ($SIG{XFSZ} // 'DEFAULT') . "\n";
END
open my $from, '-|', 'sh', '-c', 'ulimit -f 0 && exec "$@"', 'sh', $^X, (map { "-I$_" } @INC), '-e', $limited, $root, $spool
    or die $!;
my $out = do { local $/ = undef; <$from> };
ok(close $from, 'a limit on the size of files does not end the program');
like($out, qr/\APAUSE::TLog: .*: write: File too large\ntrue=0 XFSZ=DEFAULT\n\z/, 'and is said');
is_deeply([names('new'), names('tmp')], [], 'and leaves no file');

# PAUSE's own logger, if there is one.
my @logged;
{
    no warnings 'once';
    *PAUSE::Logger::current_logger = sub { return bless {}, 'PAUSE::Logger::Test' };
    *PAUSE::Logger::Test::log      = sub { push @logged, $_[1]; return };
}
{
    local $PAUSE::Config = { %{$PAUSE::Config}, TLOG_SPOOL => '/nowhere' };
    is_deeply([call()], [], 'no warning where there is a log');
    is(scalar @logged, 1, 'one line in the log');
    like($logged[0], qr{\APAUSE::TLog: upload [^\n]*/nowhere/tmp/[^\n]*\z}, 'which says what and where');

    no warnings 'redefine';
    *PAUSE::Logger::Test::log = sub { die 'the disk of the log is full' };
    fails('a log that dies', '/nowhere');

    local $SIG{__WARN__} = sub { die @_ };
    ok(eval { PAUSE::TLog::uploaded($file); 1 }, 'and where warnings are fatal, that is silent');
}

done_testing;
