#!perl

# The plugin in a CPAN shell of its own: a private HOME, and a mirror in a folder. Of what is refused nothing may be
# unpacked, let alone run.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA    qw(sha256_hex);
use File::Basename qw(basename dirname);
use File::Find     qw(find);
use File::Path     qw(make_path);
use File::Spec;
use File::Temp         qw(tempdir);
use IO::Compress::Gzip ();
use Test::More;

use Vectors;

BEGIN {
    local $ENV{HOME} = File::Temp::tempdir(CLEANUP => 1);
    if (!eval { require CPAN; CPAN->VERSION('2.10'); 1 }) {
        plan(skip_all => 'the plugin is for CPAN 2.10 or newer');
    }
}

# What runs after Makefile.PL does not matter here, and there may be no make.
my ($make) = grep { -x } qw(/bin/true /usr/bin/true);
plan(skip_all => "there is no program true") if !defined $make;

my %dist = map { $_->{name} => $_ } Vectors::of_kind('distribution');
my ($good, $swapped, $unlogged) = @dist{qw(TLog-Good-0.01 TLog-Swapped-0.01 TLog-Unlogged-0.01)};

# world makes a mirror and a home. Proofs lie beside the mirror's files unless there is to be none.
sub world {
    my (%option) = (make => $make, @_);
    my $dir      = tempdir(CLEANUP => 1);
    my $mirror   = File::Spec->catdir($dir, 'mirror');
    my $home     = File::Spec->catdir($dir, 'home');
    my %sums;
    for my $dist (values %dist) {
        my $file = File::Spec->catfile($mirror, split m{/}, $dist->{path});
        spew($file,              $dist->{file});
        spew("$file.tlog-proof", $dist->{bundle}) if defined $dist->{bundle} && !$option{no_proofs};
        $sums{ basename($file) } = $dist;
    }

    # CHECKSUMS fit the swapped file too, so that it is the plugin that refuses it.
    my $sums = join q{}, map {
        my $dist = $sums{$_};
        sprintf "  '%s' => { 'sha256' => '%s', 'size' => %d, 'cpan_path' => 'T/TL/TLOGTEST' },\n", $_,
            sha256_hex($dist->{file}), length $dist->{file};
    } sort keys %sums;
    spew(
        File::Spec->catfile($mirror, qw(authors id T TL TLOGTEST CHECKSUMS)),
        "0&&<<''; # this is no signature\n\n\$cksum = {\n$sums};\n"
    );
    # The indexes are read for their date and their headers only.
    gzipped("$mirror/authors/01mailrc.txt.gz", qq{alias TLOGTEST "A Test <CENSORED>"\n});
    gzipped("$mirror/modules/02packages.details.txt.gz",
        "File: 02packages.details.txt\nLine-Count: 0\nLast-Updated: Sun, 22 Nov 2026 10:00:00 GMT\n\n");
    gzipped("$mirror/modules/03modlist.data.gz",
        "File: 03modlist.data\nDate: Sun, 22 Nov 2026 10:00:00 GMT\n\npackage CPAN::Modulelist;\nsub data { {} }\n1;\n"
    );
    spew("$dir/policy", $good->{policy});

    my $arguments = $option{arguments} // "policy,$dir/policy";
    $arguments =~ s/\@dir\@/$dir/g;
    spew("$home/.cpan/CPAN/MyConfig.pm", <<"END");
\$CPAN::Config = {
    cpan_home => '$home/.cpan', build_dir => '$home/.cpan/build', keep_source_where => '$home/.cpan/sources',
    prefs_dir => '$home/.cpan/prefs', histfile => '$home/.cpan/history', urllist => ['file://$mirror'], pushy_https => 0,
    connect_to_internet_ok => 0, check_sigs => 0, build_cache => 100, cache_metadata => 0, index_expire => 1,
    scan_cache => 'never', inactivity_timeout => 0, load_module_verbosity => 'none', tar_verbosity => 'none',
    use_prompt_default => 1, prerequisites_policy => 'ignore', make => '$option{make}', getcwd => 'cwd', pager => 'cat',
    http_proxy => '', ftp_proxy => '', no_proxy => '', term_is_latin => 1, auto_commit => 0, version_timeout => 15,
    colorize_output => 0, halt_on_failure => 0, build_dir_reuse => 0, prefer_external_tar => 0, test_report => 0,
    trust_test_report_history => 0, randomize_urllist => 0, urllist_ping_verbose => 0, yaml_load_code => 0,
    perl5lib_verbosity => 'none', shell => '/bin/sh', makepl_arg => '', mbuildpl_arg => '', make_arg => '',
    gzip => '', bzip2 => '', tar => '', unzip => '', lynx => '', ncftp => '', ncftpget => '', ftp => '', wget => '', curl => '',
    gpg => '', make_install_arg => '', make_install_make_command => '', mbuild_arg => '', mbuild_install_arg => '',
    mbuild_install_build_command => './Build', ftp_passive => 1, show_upload_date => 0, commandnumber_in_prompt => 0,
    plugin_list => ['CPAN::Plugin::TLog=$arguments'],
};
1;
END
    make_path("$home/.cpan/$_") for qw(build sources prefs);
    return { dir => $dir, home => $home, mirror => $mirror };
}

sub gzipped {
    my ($file, $text) = @_;
    IO::Compress::Gzip::gzip(\$text, \my $bytes) or die "$file: $IO::Compress::Gzip::GzipError\n";
    spew($file, $bytes);
    return;
}

sub spew {
    my ($file, $bytes) = @_;
    make_path(dirname($file));
    open my $out, '>:raw', $file or die "$file: $!\n";
    print {$out} $bytes;
    close $out or die "$file: $!\n";
    return;
}

# shell runs a command of the CPAN shell and returns what it says, and the names of the folders that were unpacked.
sub shell {
    my ($world, $command, @more) = @_;
    my @lib = map { "-I$_" } File::Spec->rel2abs("$Bin/../lib"), "$world->{home}/.cpan";
    local %ENV = (
        (map { $_ => $ENV{$_} } grep { defined $ENV{$_} } qw(PATH SystemRoot TMPDIR PERL5LIB CPAN_TLOG_ED25519)),
        HOME                => $world->{home},
        XDG_CONFIG_HOME     => "$world->{home}/.config",
        PERL_MM_USE_DEFAULT => 1,
        AUTOMATED_TESTING   => 1,
        @more,
    );
    my $file = "$world->{dir}/output";
    my $pid  = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN,  '<',  File::Spec->devnull or die;
        open STDOUT, '>',  $file               or die;
        open STDERR, '>&', \*STDOUT            or die;
        exec $^X, @lib, '-MCPAN', '-e', "CPAN::Shell->$command" or die;
    }
    waitpid $pid, 0;
    open my $in, '<', $file or die "$file: $!\n";
    my $said = do { local $/; <$in> };
    my (%unpacked, @ran);
    find(
        sub {
            $unpacked{$1} = 1 if $File::Find::name =~ m{(TLog-[A-Za-z]+)-0\.01.*/Makefile\.PL\z};
            push @ran, $File::Find::name if $_ eq 'configured';
        },
        "$world->{home}/.cpan/build"
    );
    return ($said, join(q{ }, sort keys %unpacked), scalar @ran);
}

sub id { return "'T/TL/TLOGTEST/$_[0]->{name}.tar.gz'" }

{
    my ($said, $unpacked, $ran) = shell(world(), 'get(' . id($good) . ')');
    is($unpacked, 'TLog-Good', 'a logged file is unpacked') or diag $said;
    unlike($said, qr/TLog:|refus/i, 'and nothing is said');
    is($ran, 0, 'get runs nothing');
    ($said, $unpacked, $ran) = shell(world(), 'make(' . id($good) . ')');
    is($ran, 1, 'make runs its Makefile.PL') or diag $said;
}
{
    my $world = world();
    my ($said, $unpacked, $ran) = shell($world, 'make(' . id($swapped) . ')');
    is("$unpacked$ran", '0', 'of a swapped file nothing is unpacked or run');
    like($said, qr/refusing to unpack \Q$swapped->{path}\E/,            'it is said what is refused');
    like($said, qr/mismatch: .* is logged with other bytes than these/, 'and why');
    like(
        $said,
        qr/expected: +sha256 [0-9a-f]{64}, [0-9]+ bytes.*found: +sha256/s,
        'what was expected, and what was found'
    );
    like($said, qr/perhaps: .*next: /s, 'the causes, and what to do');
    ok(-e "$world->{mirror}/$swapped->{path}", q{the mirror's own file is left alone});
}
{
    my ($said, $unpacked, $ran) = shell(world(), 'make(' . id($unlogged) . ')');
    is("$unpacked$ran", '0', 'of a file without a proof nothing is unpacked or run');
    like($said, qr/unverifiable: there is no proof to be had/,              'and it is said why');
    like($said, qr/there is no .*TLog-Unlogged-0\.01\.tar\.gz\.tlog-proof/, 'and where was looked');
}
{
    my $world = world(arguments => 'policy,@dir@/policy,mode,prefer,verbose,1');
    my ($said, $unpacked) = shell($world, 'get(' . id($unlogged) . ')');
    is($unpacked, 'TLog-Unlogged', 'mode prefer lets pass what has no proof') or diag $said;
    like($said, qr/not verified, and let pass because of mode,prefer/, 'and warns');
    ($said, $unpacked) = shell($world, 'get(' . id($swapped) . ')');
    unlike($unpacked, qr/Swapped/, 'mode prefer does not let pass what is wrong');
    ($said) = shell($world, 'get(' . id($good) . ')');
    like(
        $said,
        qr/is logged as entry 1 of log\.example\/pause, and the same for everyone/,
        'verbose says so if all is well'
    );
}
{
    my $world = world(no_proofs => 1, arguments => 'policy,@dir@/policy,proofs,@dir@/proofs');
    spew("$world->{dir}/proofs/$good->{path}.tlog-proof",            $good->{bundle});
    spew("$world->{dir}/proofs/TLog-Swapped-0.01.tar.gz.tlog-proof", $swapped->{bundle});
    my ($said, $unpacked) = shell($world, 'get(' . id($good) . ')');
    is($unpacked, 'TLog-Good', 'a proof of the user, below its path') or diag $said;
    ($said, $unpacked) = shell($world, 'get(' . id($swapped) . ')');
    like($said, qr/mismatch: /, 'a proof of the user, by its name');
}
{
    my $world = world();
    spew("$world->{mirror}/$good->{path}.tlog-proof", $good->{bundle} =~ s/^index 1$/index 2/mr);
    my ($said, $unpacked) = shell($world, 'get(' . id($good) . ')');
    is($unpacked, q{}, 'with a proof that proves nothing, nothing is unpacked');
    like(
        $said,
        qr/unverifiable: .*found: .*a proof from file:.* proves nothing and was left aside/s,
        'it is as good as none'
    );
}
{
    # A pack of proofs: the sections of both bundles, in the order of their indexes, and the checkpoint that they share.
    my ($checkpoint) = $good->{bundle} =~ /\n\n(.*)\z/s;
    my $pack = "pauselog-proofs/v1\n" . join q{}, map { $_->{bundle} =~ /\A[^\n]*\n(.*?\n\n)/s } $good, $swapped;
    my $world = world(no_proofs => 1, arguments => 'policy,@dir@/policy,proofs,@dir@/all.tlog-proofs');
    spew("$world->{dir}/all.tlog-proofs", "${pack}checkpoint\n$checkpoint");
    my ($said, $unpacked) = shell($world, 'get(' . id($good) . ')');
    is($unpacked, 'TLog-Good', 'a pack of proofs') or diag $said;
    ($said, $unpacked) = shell($world, 'get(' . id($swapped) . ')');
    like($said, qr/mismatch: /, 'which has the other file too');
    ($said, $unpacked) = shell($world, 'get(' . id($unlogged) . ')');
    like($said, qr/there is no proof of \Q$unlogged->{path}\E in .*all\.tlog-proofs/, 'and not a third');
}
{
    # The proof tree that a mirror carries is asked before what lies beside the file, which knows of no void.
    my $world = world(no_proofs => 1);
    my $files = Vectors::files('distributions');
    spew("$world->{mirror}/modules/tlog/$_", $files->{$_}) for keys %{$files};
    my ($said, $unpacked) = shell($world, 'get(' . id($good) . ')');
    is($unpacked, 'TLog-Good', 'the proof tree of a mirror') or diag $said;
    ($said, $unpacked) = shell($world, 'get(' . id($swapped) . ')');
    like($said, qr/mismatch: /, 'which has the other file too');
    ($said, $unpacked) = shell($world, 'get(' . id($unlogged) . ')');
    like($said, qr/unverifiable: .*paths\/[0-9a-f]{2} has no \Q$unlogged->{path}/s, 'and not a third');
    my $file = "$world->{home}/.local/state/pauselog/" . sha256_hex('log.example/pause') . '/checkpoint';
    ok(-s $file, 'its checkpoint is remembered');
}
{
    my $world = world(arguments => q{});
    my ($said, $unpacked) = shell($world, 'get(' . id($good) . ')', CPAN_TLOG_POLICY => "$world->{dir}/policy");
    is($unpacked, 'TLog-Good', 'the policy of the environment') or diag $said;
}
{
    my $world = world(arguments => q{});
    spew("$world->{home}/.config/pauselog/policy", $good->{policy});
    my ($said, $unpacked) = shell($world, 'get(' . id($good) . ')');
    is($unpacked, 'TLog-Good', 'the policy of the user') or diag $said;
}

# A mistake in the configuration must not mean that nothing is verified.
for my $of (
    ['policy,/nonexistent/policy',                             qr/No such file/],
    ['policy,@dir@/policy,mode,perhaps',                       qr/expected require or prefer/],
    ['policy,@dir@/policy,polcy,x',                            qr/polcy is none of/],
    ['policy',                                                 qr/expected pairs/],
    ['policy,@dir@/mirror/authors/id/T/TL/TLOGTEST/CHECKSUMS', qr/invalid policy/],
    ['policy,@dir@/policy,log,nonsense',                       qr/expected the URL of a log/],
    ['policy,@dir@/policy,lookup,1',                           qr/does not say where the log is/],
    ['policy,@dir@/policy,lookup,perhaps',                     qr/expected 1 or 0/],
    ['policy,@dir@/policy,proofs,@dir@/none',                  qr/No such file/],
    ['policy,@dir@/policy,proofs,ftp://x',                     qr/expected a URL/],
    ['policy,@dir@/policy,max_age,1d',                         qr/expected a number of seconds/],
    )
{
    my ($arguments, $why)      = @{$of};
    my ($said,      $unpacked) = shell(world(arguments => $arguments), 'get(' . id($good) . ')');
    is($unpacked, q{}, "$arguments: nothing is unpacked");
    like($said, $why, "$arguments: it is said why");
}

# What happens between two looks at a file, with a distribution and a frontend that are played.
{

    package Played::Dist;
    sub new                      { my ($class, %self) = @_; return bless {%self}, $class }
    sub id                       { return $_[0]{ID} }
    sub pretty_id                { return $_[0]{ID} }
    sub prefs                    { return $_[0]{prefs} || {} }
    sub check_disabled           { return $_[0]{disabled} }
    sub get_file_onto_local_disk { return $_[0]{localfile} }

    package Played::Frontend;
    sub new     { return bless {}, shift }
    sub mydie   { $_[0]{said} = $_[1]; die "\n" }
    sub mywarn  { return }
    sub myprint { return }
}
{
    require CPAN::Plugin::TLog;
    no warnings 'once';
    my $world = world();
    local $CPAN::Frontend = Played::Frontend->new;
    local $CPAN::Config =
        { urllist => ["file://$world->{mirror}/"], pushy_https => 0, keep_source_where => "$world->{dir}/sources" };
    local $ENV{XDG_STATE_HOME} = "$world->{dir}/state";
    my $plugin = CPAN::Plugin::TLog->new(policy => "$world->{dir}/policy");
    my $copy   = "$world->{dir}/sources/good.tar.gz";
    spew($copy, $good->{file});
    my $dist = Played::Dist->new(ID => 'T/TL/TLOGTEST/TLog-Good-0.01.tar.gz', localfile => $copy);
    ok(eval { $plugin->pre_get($dist); 1 }, 'a good file passes');
    ok(eval { $plugin->pre_get($dist); $plugin->post_get($dist); 1 }, 'and again');
    spew($copy, $swapped->{file});
    $dist->{build_dir} = $world->{dir};
    ok(!eval { $plugin->post_get($dist); 1 }, 'a file that changes while it is unpacked does not pass');
    like($CPAN::Frontend->{said}, qr/changed while it was unpacked/, 'and it is said why');
    ok(!eval { $plugin->pre_get($dist); 1 }, 'nor does what was unpacked before it was verified');
    like($CPAN::Frontend->{said}, qr/start over with 'force get/, 'and it is said what to do');
    delete $dist->{build_dir};
    ok(!eval { $plugin->pre_get($dist); 1 }, 'nor what has other bytes by now');
    ok(!-e $copy && -e "$copy.refused", q{the shell's own copy is set aside, so that the next attempt downloads anew});
    my $other = Played::Dist->new(
        ID        => 'T/TL/TLOGTEST/Other-1.tar.gz',
        localfile => "$copy.refused",
        build_dir => $world->{dir}
    );
    ok(!eval { $plugin->post_get($other); 1 }, 'what was unpacked and never verified does not pass');

    for my $passed ({ ID => '/home/me/mine/.' }, { prefs => { goto => 'X/Y' } }, { disabled => 'by me' }) {
        my $own = Played::Dist->new(ID => 'X', %{$passed});
        ok( eval { $plugin->pre_get($own); $plugin->post_get($own); 1 },
            'passed over: ' . join ' ',
            sort keys %{$passed}
        );
    }
    {
        local $CPAN::Config->{urllist} = ['http://user@x.example/', 'ftp://x.example/', 'http://my_mirror/', '/folder'];
        is_deeply(
            [map { $_->name } $plugin->sources],
            ['http://my_mirror/modules/tlog', 'http://my_mirror/'],
            'an address that is no plain URL has no proofs'
        );
    }
    local $CPAN::Config->{pushy_https} = undef;
    is_deeply(
        [map { $_->name } $plugin->sources],
        ["file://$world->{mirror}/modules/tlog", 'https://cpan.org/modules/tlog', "file://$world->{mirror}/"],
        'the proof trees of where the shell gets its files, and what lies beside these'
    );
}

{
    require CPAN::Plugin::TLog;
    no warnings 'once';
    my $world = world();
    local $CPAN::Frontend = Played::Frontend->new;
    local $CPAN::Config   = { urllist => [], pushy_https => 0 };
    local $ENV{XDG_STATE_HOME} = "$world->{dir}/state";
    spew("$world->{dir}/named", $good->{policy} =~ s{^(log \S+)}{$1 http://127.0.0.1:1/}mr);
    my $named = sub {
        return join q{ }, map { $_->name } CPAN::Plugin::TLog->new(policy => "$world->{dir}/named", @_)->sources;
    };
    is($named->(),            'http://127.0.0.1:1/', q{the log's own files});
    is($named->(lookup => 1), 'http://127.0.0.1:1/ http://127.0.0.1:1', 'and only with lookup, itself');
    is($named->(proofs => 'https://x.example/tlog'), 'https://x.example/tlog http://127.0.0.1:1/', 'after what the user has');
    is($named->(log => 'https://y.example'), 'https://y.example', 'at another address');
}

done_testing;
