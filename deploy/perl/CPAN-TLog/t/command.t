#!perl

# The command as its users know it: arguments, what it prints where, and its exit code.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use File::Basename qw(dirname);
use File::Path     qw(make_path);
use File::Spec;
use File::Temp qw(tempdir);
use JSON::PP   ();
use Test::More;

use CPAN::TLog::Command;
use Vectors;

my %vector = map { $_->{name} => $_ } Vectors::of_kind('verify');
my $good   = $vector{'all is well'};
my $index  = $vector{'an index'};
my $path   = $good->{path};

my $dir = tempdir(CLEANUP => 1);

sub spew {
    my ($file, $bytes) = @_;
    $file = "$dir/$file";
    make_path(dirname($file));
    open my $out, '>:raw', $file or die "$file: $!\n";
    print {$out} $bytes;
    close $out or die "$file: $!\n";
    return $file;
}

my $policy = spew('policy',     $good->{policy});
my $file   = spew("cpan/$path", $good->{file});
spew("cpan/$path.tlog-proof", $good->{bundle});
my $bare    = spew('bare.tar.gz',      $good->{file});
my $proof   = spew('other.tlog-proof', $good->{bundle});
my $changed = spew('changed.tar.gz',   'other bytes');
spew('changed.tar.gz.tlog-proof', $good->{bundle});
my $broken = spew('broken.tar.gz', $good->{file});
spew('broken.tar.gz.tlog-proof', q{});
my $packages = spew('02packages', $index->{file});
spew('02packages.tlog-proof', $index->{bundle});

# run returns the exit code, standard output and standard error.
sub run {
    my (@args) = @_;
    local %ENV = (
        (map { $_ => $ENV{$_} } grep { defined $ENV{$_} } qw(PATH SystemRoot TMPDIR PERL5LIB CPAN_TLOG_ED25519)),
        HOME => "$dir/home",
    );
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDOUT, '>', "$dir/out" or die;
        open STDERR, '>', "$dir/err" or die;
        exec $^X, '-I' . File::Spec->rel2abs("$Bin/../lib"), "$Bin/../bin/pauselog-verify", @args or die;
    }
    waitpid $pid, 0;
    my $code = $? >> 8;
    return ($code, map { open my $in, '<:raw', "$dir/$_" or die; local $/; scalar <$in> } qw(out err));
}

# is_run checks a run: the code, and what must be on standard output and standard error, '' being nothing.
sub is_run {
    my ($name, $args, $code, $out, $err) = @_;
    my @got = run(@{$args});
    is($got[0], $code, "$name: exit code") or diag $got[2];
    for my $of ([1, 'standard output', $out], [2, 'standard error', $err]) {
        my ($i, $what, $want) = @{$of};
        ref $want ? like($got[$i], $want, "$name: $what") : is($got[$i], $want, "$name: $what");
    }
    return @got;
}

my @p = ('--policy', $policy);
is_run('a file below a root', [@p, '--root', "$dir/cpan", $file],              0, '',                 '');
is_run('a file and its path', [@p, '--path', $path, '--proof', $proof, $bare], 0, '',                 '');
is_run('verbose',             [@p, '--root', "$dir/cpan", '-v', $file],        0, "verified $path\n", '');
is_run('explained', [@p, '--root', "$dir/cpan", '--explain', $file],
    0, qr/\Averified: .*\n  ok      bundle .*  ok      size .*  log      log\.example.*  witness  w0, /s, '');
is_run('any path', [@p, '--any-path', $file], 0, '', '');

is_run(
    'a file without its path',
    [@p, $file],
    2, "$path\n", qr/usage: the path of the file on CPAN was not given; the bundle proves an entry of \Q$path/
);
is_run('no proof', [@p, '--path', $path, $bare], 13, '', qr/unverifiable: .*there is no \Q$bare\E\.tlog-proof/s);
is_run('no proof, mode prefer', [@p, '--mode', 'prefer', '--path', $path, $bare], 0, '', qr/unverifiable: /);
is_run('other bytes', [@p, '--path', $path, $changed],
    10, '',
    qr/\A\Q$changed\E: mismatch: .*\n  expected: sha256 .*\n  found:    sha256 .*\n  perhaps:  .*\n  next:     /s);
is_run('other bytes, mode prefer', [@p, '--mode', 'prefer', '--path', $path, $changed], 10, '', qr/mismatch: /);
is_run('an empty proof', [@p, '--path', $path, $broken], 19, '', qr/invalid-proof: the proof bundle cannot be read/);
is_run(
    'a proof of another path',
    [@p, '--path', 'authors/id/A/AB/ABC/x.tgz', '--proof', $proof, $bare],
    19, '', qr/invalid-proof: the bundle is of another path/
);
is_run('too old', [@p, '--max-age', '1s', '--path', $path, '--proof', $proof, $bare],
    16, '', qr/stale: .*or set a longer --max-age/s)
    if time > 1_795_341_660 + 3600;
is_run(
    'the worst of several files',
    [@p, '--any-path', $file, $changed, $bare],
    10, '', qr/mismatch: .*unverifiable: /s
);
is_run('a file that is not there', [@p, '--path', $path, "$dir/none"], 1, '', qr/error: .*No such file/);
is_run('a folder',                 [@p, '--path', $path, $dir],        1, '', qr/error: .*it is a folder/);
is_run(
    'a proof that is not there',
    [@p, '--path', $path, '--proof', "$dir/none", $bare],
    1, '', qr/error: the proof: .*No such file/
);
is_run('a file outside the root', [@p, '--root', "$dir/cpan", $bare], 1, '', qr/error: .*is not in/);
is_run('an index', [@p, '--path', $index->{path}, '--max-index-age', '2000000h', $packages], 0, '', '');

for my $of (
    ['no file',                    [@p],                                              qr/a FILE is needed/],
    ['no policy',                  ['--path', $path, $bare],                          qr/--policy is needed/],
    ['a policy that is not there', ['--policy', "$dir/none", '--path', $path, $bare], qr/the policy: .*No such file/],
    ['a policy that is none', ['--policy', $proof, '--path', $path, $bare], qr/the policy: .*invalid policy: line 1/],
    ['two answers to one question', [@p, '--path', $path, '--any-path', $bare],          qr/exclude each other/],
    ['one path for two files',      [@p, '--path', $path, $bare, $file],                 qr/--path is for one FILE/],
    ['one proof for two files',     [@p, '--any-path', '--proof', $proof, $bare, $file], qr/--proof is for one FILE/],
    ['an unknown flag',             [@p, '--bogus', $file],                              qr/bogus/],
    ['an abbreviated flag',         [@p, '--any', $file],                                qr/any/],
    ['an unknown mode',             [@p, '--mode', 'maybe', $file], qr/expected require or prefer/],
    (   map { ["the duration $_", [@p, "--max-age=$_", '--any-path', $file], qr/expected a duration/] } '-1h',
        '1', '1d', 'h', '1h ', "1h\n", '1e3s'
    ),
    )
{
    my ($name, $args, $err) = @{$of};
    is_run($name, $args, 2, '', $err);
}
is(CPAN::TLog::Command::seconds($_->[0]), $_->[1], "the duration $_->[0]")
    for ['720h', 2_592_000], ['1h30m', 5_400], ['1.5h', 5_400], ['90s', 90], ['1500ms', 1.5], ['1m1s', 61], ['0', 0];

my (undef, $help) = is_run('--help', ['--help'], 0, qr/Examples:\n.*--root/s, '');
like((run('--help'))[1], qr/19  invalid-proof/, 'the help has the exit codes');
is_run('--version', ['--version'], 0, qr/\Apauselog-verify [0-9.]+, perl 5\.[0-9.]+, Ed25519 by [a-z]+\n\z/, '');

# Where proofs are looked for.
{
    my $tree = Vectors::files('300 entries');
    my ($of) = grep { $_->{name} eq 'entry 299' } Vectors::of_kind('tree');
    my $many = spew('many.tar.gz', $of->{file});
    spew("tlog/$_", $tree->{$_}) for keys %{$tree};
    spew("root/modules/tlog/$_", $tree->{$_}) for keys %{$tree};
    my $below   = spew("root/$of->{path}", $of->{file});
    my $unknown = spew('root/authors/id/N/NO/NOBODY/x.tgz', 'x');
    my $pack    = spew(
        'two.tlog-proofs',
        "pauselog-proofs/v1\n"
            . ($good->{bundle} =~ /\A[^\n]*\n(.*?\n\n)/s)[0]
            . "checkpoint\n"
            . ($good->{bundle} =~ /\n\n(.*)\z/s)[0]
    );
    my @many = (@p, '--path', $of->{path}, $many);
    is_run('a proof tree', [@many, '--proofs', "$dir/tlog"], 0, '', '');
    is_run('a proof tree of the root', [@p, '--root', "$dir/root", $below], 0, '', '');
    is_run('a pack', [@p, '--path', $path, '--proofs', $pack, $bare], 0, '', '');
    is_run('the second place has it', [@p, '--path', $path, '--proofs', "$dir/tlog", '--proofs', $pack, $changed], 10, '', qr/mismatch/);
    is_run('neither in the tree nor beside the file', [@p, '--root', "$dir/root", $unknown], 13, '', qr/unverifiable: .*paths\/[0-9a-f]{2} has no .*there is no .*x\.tgz\.tlog-proof/s);
    is_run('a tree, and no path', [@p, '--proofs', "$dir/tlog", $file], 2, "$path\n", qr/usage: /);
    is_run('a tree, and any path', [@p, '--any-path', '--proofs', "$dir/tlog", $file], 0, '', '');

    # A policy that says where the log is: nobody listens there.
    my $named = spew('named', $good->{policy} =~ s{^(log \S+)}{$1 http://127.0.0.1:1/}mr);
    my @named = ('--policy', $named, '--path', $path);
    is_run('the log cannot be reached', [@named, $bare], 13, '', qr/127\.0\.0\.1:1.*there is no /s);
    unlike((run(@named, '--offline', $bare))[2], qr/127\.0\.0\.1/, 'offline, it is not asked');
    is_run('the log cannot be reached, and a proof is there', ['--policy', $named, '--root', "$dir/cpan", $file], 0, '', '');
    is_run('a bad proof among several sources', [@named, $broken], 13, '', qr/unverifiable: .*proves nothing and was left aside/s);
    is_run('the log is asked', [@named, '--lookup', $bare], 13, '', qr{127\.0\.0\.1:1/checkpoint.*127\.0\.0\.1:1/proof}s);
    for my $of (
        ['lookup without an address', [@p, '--lookup', '--path', $path, $bare], qr/does not say where the log is/],
        ['lookup offline', [@named, '--lookup', '--offline', $bare], qr/excludes --lookup/],
        ['a URL offline', [@named, '--offline', '--proofs', 'https://x.example', $bare], qr/--offline allows no connection/],
        ['proofs that are not there', [@named, '--proofs', "$dir/none", $bare], qr/--proofs: .*No such file/],
        ['a proof and proofs', [@named, '--proofs', $pack, '--proof', $proof, $bare], qr/is the one proof/],
        )
    {
        is_run($of->[0], $of->[1], 2, '', $of->[2]);
    }
}

# JSON, on success and on failure, is one object a line with the same fields.
{
    my ($code, $out, $err) = run(@p, '--json', '--any-path', $file, $changed, $bare);
    is($err, '', 'JSON: nothing on standard error');
    my @objects = map { JSON::PP->new->utf8->decode($_) } split /\n/, $out;
    is_deeply(
        [map { [@{$_}{qw(outcome code)}] } @objects],
        [['verified', 0], ['mismatch', 10], ['unverifiable', 13]],
        'JSON: the outcomes'
    );
    is_deeply(
        [sort keys %{ $objects[0] }],
        [   qw(causes checkpoint checks code entry evidence expected file found index kind message next notes outcome path sha256 size)
        ],
        'JSON: the fields'
    );
    is_deeply(
        [map { [sort keys %{$_}] } @objects[1, 2]],
        [([sort keys %{ $objects[0] }]) x 2],
        'JSON: the same fields whatever the outcome'
    );
    is($objects[0]{file}, $file, 'JSON: which file');
    is_deeply([@{ $objects[0] }{qw(path index kind evidence)}], [$path, 1, 'upload', undef], 'JSON: what is proven');
    like($out, qr/"size":33[,}]/, 'JSON: a number is a number');
    is($objects[0]{checkpoint}{quorum},                JSON::PP::true(),       'JSON: the quorum');
    is($objects[0]{checkpoint}{cosignatures}[0]{time}, '2026-11-22T10:01:00Z', 'JSON: when it was signed');
    ok(!grep({ !$_->{ok} } @{ $objects[0]{checks} }), 'JSON: the checks');
    ($code, $out, $err) = run(@p, '--json', '--bogus');
    is_deeply([$code, $err, JSON::PP->new->decode($out)->{outcome}], [2, '', 'usage'], 'JSON: wrong flags too');
}

# What pauselog remembers of the log is compared, and what convicts the log is kept.
{
    my ($fork) = grep { $_->{name} eq 'another root remembered' } Vectors::of_kind('verify');
    require Digest::SHA;
    my $state = 'state/' . Digest::SHA::sha256_hex('log.example/pause') . '/checkpoint';
    my @args  = (@p, '--state-dir', "$dir/state", '--path', $path, '--proof', $proof, $bare);
    spew($state, $good->{bundle} =~ s/\A.*?\n\n//sr);
    is_run('the same remembered', \@args, 0, '', '');
    spew($state, 'damaged');
    is_run('damaged memory', \@args, 1, '', qr/the remembered checkpoint is damaged/);
    spew($state, $fork->{known}[0]);
    my ($code, $out, $err) =
        is_run('a fork', \@args, 15, '', qr/misbehaviour: .*signed two different trees of size 13.*evidence: /s);
    my ($evidence) = $err =~ /^  evidence: (\S+)/m;
    open my $in, '<:raw', $evidence or die "$evidence: $!\n";
    my $text = do { local $/; <$in> };
    like(
        $text,
        qr/\Apauselog-evidence\/v1\nkind roots\nnote\n\| log\.example\/pause\n\| 13\n.*\nnote\n\| log\.example\/pause\n\| 13\n/s,
        'the evidence has both checkpoints'
    );
    like($text, qr/^\| \n/m, 'and its blank lines behind a bar');
    is_run('a fork again', \@args, 15, '', qr/\Q$evidence/);
}

SKIP: {
    skip 'no symbolic links here', 6 if !eval { symlink "$dir/cpan", "$dir/link" };
    is_run('a root that is a link',              [@p, '--root', "$dir/link", "$dir/link/$path"], 0, '', '');
    is_run('a root that is reached on two ways', [@p, '--root', "$dir/link", $file],             0, '', '');
    my $author = dirname($file);
    symlink $author, "$dir/cpan/authors/id/E/ET/OTHER" or die;
    is_run(
        'another author by a link',
        [@p, '--root', "$dir/cpan", "$dir/cpan/authors/id/E/ET/OTHER/Try-Tiny-0.31.tar.gz"],
        1, '', qr/by symbolic links/
    );
    symlink $file, "$author/Link-1.tar.gz" or die;
    is_run('a link below the root', [@p, '--root', "$dir/cpan", "$author/Link-1.tar.gz"], 1, '',
        qr/is a symbolic link/);
}

done_testing;
