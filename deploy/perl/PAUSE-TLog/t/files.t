#!perl

# What a name turns out to be when it is opened.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha256_hex);
use POSIX ();
use Test::More;

# Between fstat and the first read is where another process changes a file.
my $before_read;

BEGIN {
    *CORE::GLOBAL::sysread = sub (*\$$;$) {
        my ($handle, $buffer, $length) = @_;
        (my $do, $before_read) = ($before_read, undef);
        $do->() if $do;
        return CORE::sysread $handle, ${$buffer}, $length;
    };
}

use Spooled qw($root $spool put gone events clear names reports);

# A call that hangs holds back the alarm of this process, so it is for another to end it.
my $test = $$;
pipe my $until_end, my $held_open or die $!;
my $watchdog = fork // die $!;
if (!$watchdog) {
    close $held_open;
    close STDOUT;
    my $ready = q{};
    vec($ready, fileno $until_end, 1) = 1;
    kill KILL => $test if !select $ready, undef, undef, 60;
    POSIX::_exit(0);
}
close $until_end;

my $path  = 'authors/id/E/ET/ETHER/x.tgz';
my $index = 'modules/02packages.details.txt';
put($_, 'x') for $path, $index;

sub spooled {
    my ($code, $file) = @_;
    clear();
    my $true;
    my @said  = reports(sub { $true = $code->($file) });
    my @found = map { { %{$_}, time => q{} } } events();
    is_deeply([names('tmp')], [], 'tmp is empty');
    return ($true, scalar @said, @found);
}

sub without_digest {
    my ($kind, $of) = @_;
    return { spool => 1, kind => $kind, path => $of, sha256 => undef, size => undef, time => q{}, by => undef };
}

# Neither an upload nor an index: no file is left. A deletion is one whatever lay there.
my %make = (
    'a symbolic link'             => sub { symlink '/etc/hostname', $_[0] or die $! },
    'a symbolic link to nowhere'  => sub { symlink '/nowhere', $_[0] or die $! },
    'a FIFO that nobody writes'   => sub { POSIX::mkfifo($_[0], oct 600) or die $! },
    'a folder'                    => sub { mkdir $_[0] or die $! },
);
for my $what (sort keys %make) {
    gone($_) for $path, $index;
    $make{$what}->("$root/$_") for $path, $index;
    is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/$path")], [0, 1], "$what is no upload, and it is said");
    is_deeply([spooled(\&PAUSE::TLog::changed, "$root/$index")], [0, 1], "$what is no index, and it is said");
    is_deeply([spooled(\&PAUSE::TLog::deleted, "$root/$path")], [1, 1, without_digest(delete => $path)],
        "the deletion of $what comes without digest");
    for my $name ($path, $index) {
        rmdir "$root/$name" or gone($name);
        put($name, 'x');
    }
}

# An upload that cannot be read is one all the same: the reader tries again.
gone($_) for $path, $index;
is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/$path")], [1, 1, without_digest(upload => $path)],
    'an upload that vanished');
is_deeply([spooled(\&PAUSE::TLog::changed, "$root/$index")], [1, 1, without_digest(index => $index)],
    'an index that vanished');
is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/authors/id/N/NO/NOFOLDER/x.tgz")],
    [1, 1, without_digest(upload => 'authors/id/N/NO/NOFOLDER/x.tgz')], 'an upload whose folder vanished');

sub with_digest { return { %{without_digest(upload => $path)}, sha256 => sha256_hex($_[0]), size => length $_[0] } }

put($path, 'x' x 100_000);
$before_read = sub { gone($path) };
is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/$path")], [1, 0, with_digest('x' x 100_000)],
    'a file that vanishes when it is open is read to the end');

put($path, 'x' x 100_000);
$before_read = sub { rename "$root/$path", "$root/$path.old" or die $!; put($path, 'other') };
is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/$path")], [1, 0, with_digest('x' x 100_000)],
    'digest and size are of one file when another takes its name');

my %change = (
    grows   => sub { open my $out, '>>', $_[0] or die $!; print {$out} 'y' },
    shrinks => sub { truncate $_[0], 7 },
);
for my $does (sort keys %change) {
    my $how = $change{$does};
    put($path, 'x' x 65_536);
    $before_read = sub { $how->("$root/$path") or die $! };
    is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/$path")], [1, 1, without_digest(upload => $path)],
        "a file that $does while it is read comes without digest");
}

for my $size (1, 65_535, 65_536, 65_537, 131_072) {
    put($path, 'z' x $size);
    is_deeply([spooled(\&PAUSE::TLog::uploaded, "$root/$path")], [1, 0, with_digest('z' x $size)], "$size bytes");
}

done_testing;
