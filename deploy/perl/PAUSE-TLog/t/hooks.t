#!perl

# What each event at PAUSE leaves in the spool.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha256_hex);
use Test::More;

use Spooled qw($root $spool put gone welcome_file newfile_hook delfile_hook events clear names reports);

my $NOW = 1_795_341_600;    # 2026-11-22T10:00:00Z

sub paused {
    my ($uriid, $bytes, %row) = @_;
    put("authors/id/$uriid", $bytes);
    return welcome_file({ NOW => $NOW, URIRECORD => { uriid => $uriid, changedby => 'ETHER', %row } },
        $row{size} // length $bytes);
}

sub event {
    my ($kind, $path, $bytes, %more) = @_;
    return {
        spool => 1, kind => $kind, path => $path, time => '2026-11-22T10:00:00Z', by => undef,
        sha256 => defined $bytes ? sha256_hex($bytes) : undef, size => defined $bytes ? length $bytes : undef, %more,
    };
}

# An event of now, whose time is checked for its form alone.
sub dated {
    my @events = @_;
    for my $event (@events) {
        like($event->{time}, qr/\A20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z\z/a, 'a time in UTC');
        $event->{time} = '2026-11-22T10:00:00Z';
    }
    return \@events;
}

sub leaves {
    my ($name, $code, @expected) = @_;
    clear();
    my @said = reports($code);
    is_deeply([events()], \@expected, $name);
    is_deeply(\@said, [], "$name: nothing is said");
    is_deeply([names('tmp')], [], "$name: tmp is empty");
    return;
}

my $archive = "E/ET/ETHER/Try-Tiny-0.31.tar.gz";
leaves('an upload', sub { paused($archive, "\x1F\x8B bytes\n") },
    event(upload => "authors/id/$archive", "\x1F\x8B bytes\n", by => 'ETHER'));
leaves('an administrator who acts for an author', sub { paused($archive, 'bytes', changedby => 'ANDK') },
    event(upload => "authors/id/$archive", 'bytes', by => 'ANDK'));
leaves('an upload of whom nobody knows', sub { paused($archive, 'bytes', changedby => undef) },
    event(upload => "authors/id/$archive", 'bytes'));
leaves('an id that is none', sub { paused($archive, 'bytes', changedby => q("},{")) },
    event(upload => "authors/id/$archive", 'bytes'));
leaves('a zip, of which the daemon has the name in place of the size',
    sub { paused('E/ET/ETHER/x.zip', 'PK', size => "$root/authors/id/E/ET/ETHER/x.zip") },
    event(upload => 'authors/id/E/ET/ETHER/x.zip', 'PK', by => 'ETHER'));
leaves('a module on its own', sub { paused('E/ET/ETHER/CGI.pm.gz', 'pm') },
    event(upload => 'authors/id/E/ET/ETHER/CGI.pm.gz', 'pm', by => 'ETHER'));
leaves('a distribution that moved below Perl6/', sub { paused('F/FR/FROGGS/Perl6/ACME-0.1.tar.gz', 'p6', is_perl6 => 1) },
    event(upload => 'authors/id/F/FR/FROGGS/Perl6/ACME-0.1.tar.gz', 'p6', by => 'ETHER'));
leaves('a folder below the author', sub { paused('E/ET/ETHER/sub/dir/x.tgz', 'x') },
    event(upload => 'authors/id/E/ET/ETHER/sub/dir/x.tgz', 'x', by => 'ETHER'));
leaves('a name that JSON escapes', sub { paused('E/ET/ETHER/a"b\\c.tgz', 'x') },
    event(upload => 'authors/id/E/ET/ETHER/a"b\\c.tgz', 'x', by => 'ETHER'));
leaves('an empty file', sub { paused('E/ET/ETHER/empty.tgz', q{}) },
    event(upload => 'authors/id/E/ET/ETHER/empty.tgz', q{}, by => 'ETHER'));
leaves('a large file', sub { paused('E/ET/ETHER/large.tgz', 'x' x 3_000_001) },
    event(upload => 'authors/id/E/ET/ETHER/large.tgz', 'x' x 3_000_001, by => 'ETHER'));

leaves('a README uploaded ten times', sub { paused('E/ET/ETHER/README', "version $_") for 1 .. 10 });
leaves('documents', sub { paused("E/ET/ETHER/$_", 'x') for qw(x.txt x.html x.pod.gz My-README.bz2) });

# The indexer announces archives of the last day again, and what it makes beside them.
leaves('the hook for new files, for all but the indexes', sub {
    newfile_hook(put("authors/id/$archive", 'bytes'));
    newfile_hook("$root/authors/id//$archive");
    newfile_hook(put("authors/id/E/ET/ETHER/$_", 'x')) for qw(CHECKSUMS Try-Tiny-0.31.meta Try-Tiny-0.31.readme);
    newfile_hook(put($_, 'x')) for qw(
        authors/02STAMP modules/02STAMP modules/01modules.index.html authors/02authors.txt.gz modules/03modlist.data.gz
        modules/02packages.details.txt.new authors/RECENT-1h.yaml
    );
});

for my $name (qw(02packages.details.txt 02packages.details.txt.gz 06perms.txt 06perms.txt.gz)) {
    my $index = "modules/$name";
    put($index, "of $name");
    for my $file ("$root/$index", "$root/authors/id/../../modules/$name", "$root/authors/id//../../modules/$name") {
        clear();
        ok(newfile_hook($file), "$name is spooled");
        is_deeply(dated(events()), [event(index => $index, "of $name")], "$name, named $file");
    }
}
put('authors/01mailrc.txt.gz', 'aliases');
clear();
newfile_hook("$PAUSE::Config->{MLROOT}/../01mailrc.txt.gz");
is_deeply(dated(events()), [event(index => 'authors/01mailrc.txt.gz', 'aliases')], '01mailrc');

# As cron-daily does it: the hook, then unlink, then the same for what was made beside it.
clear();
put("authors/id/$archive", 'bytes');
for my $name ($archive, map { "E/ET/ETHER/Try-Tiny-0.31.$_" } qw(readme meta)) {
    delfile_hook("$PAUSE::Config->{MLROOT}$name");
    gone("authors/id/$name");
}
is_deeply(dated(events()), [event(delete => "authors/id/$archive", 'bytes')],
    'a deletion, with the digest of what is deleted');

clear();
is(scalar reports(sub { delfile_hook("$root/authors/id/$archive") }), 1, 'the deletion of what is not there is said');
is_deeply(dated(events()), [event(delete => "authors/id/$archive")], 'and spooled without digest');

clear();
put("authors/id/$archive", 'bytes');
PAUSE::TLog::deleted("$root/authors/id/$archive", by => 'ETHER');
is_deeply(dated(events()), [event(delete => "authors/id/$archive", 'bytes', by => 'ETHER')], 'a deletion by somebody');

leaves('the deletion of an index or a document', sub {
    delfile_hook(put('modules/02packages.details.txt', 'x'));
    delfile_hook(put('authors/id/E/ET/ETHER/README', 'x'));
    delfile_hook(put('authors/id/E/ET/ETHER/CHECKSUMS', 'x'));
});

{
    local $PAUSE::Config = { %{$PAUSE::Config}, MLROOT => "$root/authors/id" };
    leaves('MLROOT without a slash at its end', sub {
        PAUSE::TLog::uploaded(put("authors/id/$archive", 'bytes'), time => $NOW);
    }, event(upload => "authors/id/$archive", 'bytes'));
}

clear();
paused("E/ET/ETHER/x-$_.tgz", $_) for 1 .. 30;
is_deeply([map { $_->{size} . substr $_->{path}, -7 } events()],
    [map { (length) . substr "authors/id/E/ET/ETHER/x-$_.tgz", -7 } 1 .. 30], 'the names are in the order of the events');

done_testing;
