#!perl

# Prints how long a call takes: perl -Ilib bench/call.pl [FOLDER]. The spool is made in FOLDER, by default the
# system's one for temporary files, and is on the disk that you want to know of.

use 5.016;
use strict;
use warnings;

use File::Path qw(make_path);
use File::Temp ();
use Time::HiRes qw(time);

use PAUSE::TLog;

my $calls = 1_000;
my $temporary = File::Temp->newdir(DIR => $ARGV[0] // File::Spec->tmpdir);
my $author = "$temporary/cpan/authors/id/E/ET/ETHER";
make_path($author, map { "$temporary/spool/$_" } qw(tmp new));
$PAUSE::Config = { MLROOT => "$temporary/cpan/authors/id/", TLOG_SPOOL => "$temporary/spool" };

sub file {
    my ($name, $size) = @_;
    open my $out, '>:raw', "$author/$name" or die $!;
    print {$out} 'x' x $size;
    close $out or die $!;
    return "$author/$name";
}

my $archive = file('x-1.0.tgz', 30 * 1024);
my $stamp   = "$temporary/cpan/authors/02STAMP";
for my $case (
    ['an upload of 30 KiB',   sub { PAUSE::TLog::uploaded($archive) or die 'it failed' }],
    ['what is passed over',   sub { PAUSE::TLog::changed($stamp) and die 'it wrote' }],
) {
    my ($name, $code) = @{$case};
    my @took = sort { $a <=> $b } map { my $start = time; $code->(); time - $start } 1 .. $calls;
    printf "%-22s %d calls: p50 %.3f ms, p99 %.3f ms, longest %.3f ms\n", $name, $calls,
        map { 1000 * $_ } @took[$calls / 2, $calls * 0.99, -1];
}
