#!perl

# Proof trees as they lie in folders and are served: what is read of them, what is remembered, and what they cannot do.
# That each tree, good or bad, has the outcome that it must have is in vectors.t.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA    qw(sha256_hex);
use File::Basename qw(dirname);
use File::Path     qw(make_path);
use File::Temp     qw(tempdir);
use IO::Compress::Gzip ();
use IO::Socket::INET;
use Test::More;

use CPAN::TLog::Ed25519;
use CPAN::TLog::Files;
use CPAN::TLog::Memory;
use CPAN::TLog::Policy;
use CPAN::TLog::Search;
use CPAN::TLog::Source;
use CPAN::TLog::Tree;
use Vectors;

delete @ENV{qw(http_proxy HTTP_PROXY all_proxy ALL_PROXY)};

my %vector = map { $_->{name} => $_ } Vectors::of_kind('tree');
my $good   = $vector{'entry 299'};
my $files  = Vectors::files($good->{files});
my $dir    = tempdir(CLEANUP => 1);
my $other  = 'authors/id/M/MA/MANY/Many-256.tar.gz';
my $nobody = 'authors/id/N/NO/NOBODY/x.tgz';

sub spew {
    my ($file, $bytes) = @_;
    make_path(dirname($file));
    open my $out, '>:raw', $file or die "$file: $!\n";
    print {$out} $bytes;
    close $out or die "$file: $!\n";
    return;
}

sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

spew("$dir/cpan/modules/tlog/$_", $files->{$_}) for keys %{$files};

sub policy { return CPAN::TLog::Policy->parse($_[0] // $good->{policy}) }

# verify asks one source, and one that has nothing.
sub verify {
    my ($source, $policy, %more) = @_;
    return CPAN::TLog::Search->verify(
        [$source, Vectors::Said->new(absence_detail => 'nothing')],
        policy => $policy, path => $good->{path}, sha256 => sha256_hex($good->{file}), size => length $good->{file},
        now    => 0 + $good->{now}, %more,
    );
}

# One checkpoint a run: its signatures are verified once, however many files there are.
{
    my $policy = policy();
    my $source = CPAN::TLog::Source->proofs("$dir/cpan/modules/tlog", policy => $policy);
    my $signatures = 0;
    no warnings 'redefine';
    my $verify = \&CPAN::TLog::Ed25519::verify;
    local *CPAN::TLog::Ed25519::verify = sub { $signatures++; return $verify->(@_) };
    my $read = 0;
    my $get  = \&CPAN::TLog::Files::get;
    local *CPAN::TLog::Files::get = sub { $read++; return $get->(@_) };
    is(verify($source, $policy)->outcome, 'verified', 'a folder with a proof tree');
    is($signatures,                       4,          'the signatures of the checkpoint are verified');
    my $reads = $read;
    is(verify($source, $policy)->outcome, 'verified', 'and a second file');
    is("$signatures $read", "4 $reads", 'costs no signature, and reads nothing again');
    cmp_ok($reads, '<', 8, 'of the tree only what is needed is read');
    my $mirror = CPAN::TLog::Source->tree("file://$dir/cpan/", policy => $policy);
    is(verify($mirror, $policy)->outcome, 'verified', 'a mirror on this machine');
    is($signatures, 4, 'has the same checkpoint');

    # One that does not verify is not calculated again for each file either.
    my $bad = "$dir/bad/checkpoint";
    spew($bad, $files->{checkpoint} =~ s/^(\xE2\x80\x94 w2\.example .{20})(.)/$1 . ($2 eq 'A' ? 'B' : 'A')/emr);
    $signatures = 0;
    for (1 .. 3) {
        is(verify(CPAN::TLog::Source->proofs("$dir/bad", policy => $policy), $policy)->outcome,
            'unverifiable', 'a checkpoint with a bad signature is no proof');
    }
    is($signatures, 4, 'which is found out once');
}

# What is remembered.
{
    my $policy = policy();
    my $memory = CPAN::TLog::Memory->new("$dir/state");
    my $file   = "$dir/state/" . sha256_hex('log.example/pause') . '/checkpoint';
    my $tree   = sub { CPAN::TLog::Source->proofs("$dir/cpan/modules/tlog", policy => $policy, memory => $memory) };
    is(verify($tree->(), $policy, memory => $memory)->outcome, 'verified', 'a first tree');
    is(slurp($file), $files->{checkpoint}, 'its checkpoint is remembered');
    is((stat $file)[2] & oct 77, 0, 'for the user alone') if $^O ne 'MSWin32';
    opendir my $in, dirname($file) or die;
    is_deeply([sort grep { !/\A\.\.?\z/ } readdir $in], [qw(checkpoint lock)], 'and nothing else is left');

    my $older = $vector{'older remembered'}{known}[0];
    spew($file, $older);
    is(verify($tree->(), $policy, memory => $memory)->outcome, 'verified', 'a tree that continues what is remembered');
    is(slurp($file), $files->{checkpoint}, 'is remembered in its place');

    my $lagging = "$dir/lagging";
    my $change  = $vector{'newer remembered'}{change};
    spew("$lagging/$_", $change->{$_}) for keys %{$change};
    my %of = (path => 'authors/id/M/MA/MANY/Many-20.tar.gz', sha256 => sha256_hex('the bytes of Many-20.tar.gz'), size => 27);
    my $lag = CPAN::TLog::Source->proofs($lagging, policy => $policy, memory => $memory);
    is(verify($lag, $policy, memory => $memory, %of)->outcome, 'verified', 'a mirror may lag');
    is(slurp($file), $files->{checkpoint}, 'and is not remembered');

    my $alone = policy($good->{policy} =~ s/^quorum .*/quorum none/mr);
    my $older_tree = CPAN::TLog::Source->proofs($lagging, policy => $alone, memory => $memory);
    is(verify($older_tree, $alone, memory => $memory, %of)->outcome,
        'unverifiable', 'where no witnesses vouch for it, an older tree proves nothing');
    like({ $older_tree->fetch(@of{qw(path sha256)}) }->{absence_detail}, qr/older than the tree that was seen before/, 'and says why');
    is(slurp($file), $files->{checkpoint}, 'and is not remembered either');

    for my $of (
        ['an older fork remembered',                 'prefix'],
        ['an older fork remembered, of a full tile', 'prefix'],
        ['the same size and another root remembered', 'roots'],
        )
    {
        my $fork = $vector{ $of->[0] }{known}[0];
        spew($file, $fork);
        my $result = verify($tree->(), $policy, memory => $memory);
        is($result->outcome, 'misbehaviour', $of->[0]);
        is($result->evidence->kind, $of->[1], "$of->[0]: the evidence");
        my $name = $memory->write_evidence($result->evidence);
        like(slurp($name), qr/\Apauselog-evidence\/v1\nkind $of->[1]\nnote\n\| log\.example\/pause\n/, "$of->[0]: is written");
        is(slurp($file), $fork, "$of->[0]: what was remembered stays");
    }
    spew($file, 'damaged');
    ok(!eval { verify($tree->(), $policy, memory => $memory); 1 }, 'a damaged memory stops everything');
    like($@, qr/damaged/, 'and it is said why');
    is({ $tree->()->fetch($good->{path}, q{}) }->{error} =~ /damaged/, 1, 'by the source too');
}

# Whoever can write to a folder cannot have other files read, nor make a reader wait.
SKIP: {
    my $policy = policy();
    spew("$dir/links/checkpoint", $files->{checkpoint});
    spew("$dir/secret",           'x');
    skip 'no symbolic links here', 2 if !eval { symlink '../secret', "$dir/links/out" };
    my $at = CPAN::TLog::Files->at("$dir/links");
    ok(!eval { $at->get('out', 10); 1 }, 'a link that leads out of the folder');
    like($@, qr/leads out of its folder/, 'is not followed');
    skip 'no named pipes here', 1 if system('mkfifo', "$dir/links/pipe") != 0;
    ok(!eval { $at->get('pipe', 10); 1 }, 'a pipe is not waited for');
}
{
    my $at = CPAN::TLog::Files->at("$dir/links");
    is($at->get('none/none', 10), undef, 'a file that is not there');
    ok(!eval { $at->get('checkpoint', 10); 1 } && $@->kind eq 'invalid', 'one that is too large');
    ok(!eval { CPAN::TLog::Files->at($_); 1 }, "$_ is no place") for 'ftp://x/', 'https://', 'http://x/?y', "http://x/\n";
}

# A server on this machine. What it was asked for is in a file.
my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@\n";
my $url    = 'http://127.0.0.1:' . $server->sockport;
my $pid    = fork // die "fork: $!\n";
if (!$pid) {
    local $SIG{PIPE} = 'IGNORE';
    while (my $client = $server->accept) {
        my ($request) = (<$client> // q{}) =~ /\AGET (\S+) HTTP/;
        while (defined(my $line = <$client>)) {
            last if $line =~ /\A\r?\n\z/;
        }
        open my $log, '>>', "$dir/asked" or die;
        print {$log} "$request\n";
        close $log or die;
        my ($where, $name) = $request =~ m{\A/([^/]*)/(.*)\z};
        my ($status, $header, $body) = (200, q{}, $files->{ $name // q{} });
        ($status, $body) = (404, 'none') if !defined $body || $where eq 'none';
        ($status, $header) = (302, "Location: /log/$name\r\n") if $where eq 'moved';
        ($status, $header) = (302, "Location: http://elsewhere.example/log/$name\r\n") if $where eq 'away';
        ($status, $header) = (302, "Location: /loop/$name\r\n") if $where eq 'loop';
        ($status, $body) = (200, $body . 'x' x 200_000) if $where eq 'large';
        if ($where eq 'gzip') {
            my $packed = $body;
            IO::Compress::Gzip::gzip(\$packed, \$body);
            $header = "Content-Encoding: gzip\r\n";
        }
        if ($where eq 'bomb') {
            my $zeros = "\0" x 2_000_000;
            IO::Compress::Gzip::gzip(\$zeros, \$body);
            $header = "Content-Encoding: gzip\r\n";
        }
        print {$client} "HTTP/1.1 $status Said\r\n${header}Content-Length: ", length $body,
            "\r\nConnection: close\r\n\r\n$body";
        close $client;
    }
    exit 0;
}
close $server;

my $policy = policy();
is(verify(CPAN::TLog::Source->proofs("$url/$_", policy => $policy), $policy)->outcome, 'verified', "served: $_")
    for qw(log moved gzip);
for my $of (
    [none  => qr/there is no checkpoint/],
    [away  => qr/a redirect to another host, elsewhere\.example/],
    [loop  => qr/more than 3 redirects/],
    [large => qr/more than 131072 bytes/],
    [bomb  => qr/more than 131072 bytes/],
    )
{
    my $source = CPAN::TLog::Source->proofs("$url/$of->[0]", policy => $policy);
    my $result = verify($source, $policy);
    is($result->outcome, 'unverifiable', "served: $of->[0]");
    like($result->found, $of->[1], "served: $of->[0]: it is said why");
}

# A mirror without a tree is asked once a run, and of a path nobody is told.
{
    unlink "$dir/asked";
    my $none = CPAN::TLog::Source->tree("$url/none/", policy => $policy);
    verify($none, $policy) for 1 .. 3;
    is(slurp("$dir/asked"), "/none/modules/tlog/checkpoint\n", 'a mirror is asked once whether it has a tree');
    unlink "$dir/asked";
    verify(CPAN::TLog::Source->proofs("$url/log", policy => $policy), $policy);
    unlike(slurp("$dir/asked"), qr/MANY|Many/, 'the server does not learn the path');
}

# The word of the policy's log counts that a path is not listed.
my $outcome = sub {
    my ($source) = @_;
    return verify($source, $policy, path => $nobody)->outcome;
};
is($outcome->(CPAN::TLog::Source->log_files("$url/log/", policy => $policy)), 'not-logged',   'the log says not-logged');
is($outcome->(CPAN::TLog::Source->proofs("$url/log", policy => $policy)),     'unverifiable', 'whoever else does, it counts for nothing');
is($outcome->(CPAN::TLog::Source->log_files("$url/none", policy => $policy)), 'unverifiable', 'a log without files has not said it');
for my $of (
    ['https://log.example/', 1, 'by TLS'], ['http://log.example/', 0, 'not by TLS'],
    ['https://other.example/', 0, 'a host that the policy does not name'], ['http://localhost:1/', 1, 'this machine'],
    )
{
    my $named = policy($good->{policy} =~ s{^(log \S+)}{$1 https://log.example/}mr);
    is(CPAN::TLog::Source::is_the_logs($of->[0], $named), $of->[1], "the log's own word: $of->[2]");
    is(CPAN::TLog::Source::log_url($named), 'https://log.example/', 'where the policy says that the log is');
}
is(CPAN::TLog::Source->log_files('grpc://log.example', policy => $policy), undef, 'a log that is not served as files');

# What was read is kept, and a server that goes away is as good as none afterwards.
my $kept = CPAN::TLog::Source->proofs("$url/log", policy => $policy);
is(verify($kept, $policy)->outcome, 'verified', 'while the server is there');
kill TERM => $pid;
waitpid $pid, 0;
is(verify($kept, $policy)->outcome, 'verified', 'after it has gone');
is(verify($kept, $policy, path => 'authors/id/M/MA/MANY/Many-15.tar.gz')->outcome, 'unverifiable', 'but for what was not read');
{
    local $CPAN::TLog::Source::Tree::REOPEN = 0;
    is(verify($kept, $policy)->outcome, 'verified', 'and when a newer one is looked for');
}
is(verify(CPAN::TLog::Source->proofs('https://127.0.0.1:1/', policy => $policy), $policy)->outcome,
    'unverifiable', 'https, and nobody is there');

# A perl that has no IO::Socket::SSL says so.
{
    my $code = 'unshift @INC, sub { die "hidden\n" if $_[1] =~ /SSL/; return }; require CPAN::TLog::HTTP; '
        . 'my %page = CPAN::TLog::HTTP::get("https://127.0.0.1:1/", limit => 9); print $page{why}';
    open my $in, '-|', $^X, "-I$Bin/../lib", '-e', $code or die "perl: $!\n";
    like(scalar <$in>, qr/https needs the module IO::Socket::SSL, which is not installed/, 'https without the module');
    close $in;
}

# The cache has a bound.
{
    local $CPAN::TLog::Tree::MAX_CACHE = 20_000;
    my $tree = CPAN::TLog::Tree->open(CPAN::TLog::Files->at("$dir/cpan/modules/tlog"), $policy);
    my $same = CPAN::TLog::Tree->open(CPAN::TLog::Files->at("$dir/cpan/modules/tlog"), $policy);
    for my $index (0, 299, 13, 200, 256) {
        is($tree->bundle($index), $same->bundle($index), "entry $index, read again");
        cmp_ok($tree->{bytes}, '<=', 20_000, 'and not too much is kept');
    }
}
is(CPAN::TLog::Tree::tile_name(@{$_}[0 .. 2]), $_->[3], $_->[3])
    for ['0', 0, 256, 'tile/0/000'], ['entries', 67, 256, 'tile/entries/067'], ['1', 1_234, 7, 'tile/1/x001/234.p/7'],
    ['0', 1_234_067, 256, 'tile/0/x001/x234/067'];

done_testing;
