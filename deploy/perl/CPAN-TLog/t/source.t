#!perl

# Where proofs come from: folders, mirrors, and a log that is played by a server on this machine.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha256_hex);
use File::Temp  qw(tempdir);
use IO::Socket::INET;
use JSON::PP     ();
use MIME::Base64 qw(encode_base64);
use Test::More;

use CPAN::TLog::Bundle;
use CPAN::TLog::Policy;
use CPAN::TLog::Source;
use CPAN::TLog::Verify;
use Vectors;

delete @ENV{qw(http_proxy HTTP_PROXY all_proxy ALL_PROXY)};

my ($good)   = grep { $_->{name} eq 'all is well' } Vectors::of_kind('verify');
my ($voided) = grep { $_->{name} eq 'voided' } Vectors::of_kind('verify');
my $policy   = CPAN::TLog::Policy->parse($good->{policy});

# page is what the server answers to a path.
my %page = (
    "/proof/$good->{path}.tlog-proof"                     => [200, $good->{bundle}],
    '/proof/authors/id/L/LA/LARGE/x.tgz.tlog-proof'       => [200, 'x' x 300_000],
    '/proof/authors/id/M/MO/MOVED/x.tgz.tlog-proof'       => [302, q{}, 'http://elsewhere.example/x.tlog-proof'],
    '/proof/authors/id/S/SA/SAME/x.tgz.tlog-proof'        => [302, q{}, "/proof/$good->{path}.tlog-proof"],
    '/proof/authors/id/O/OD/ODD/a%25b%3Fc.tgz.tlog-proof' => [200, 'odd'],
    "/mirror/$good->{path}.tlog-proof"                    => [200, $good->{bundle}],
    "/mirror/authors/id/M/MO/MOVED/x.tgz.tlog-proof"      => [302, q{}, "/mirror/$good->{path}.tlog-proof"],
);
my $interface = '/pauselog.v1.Log/GetInclusionProof?';
for my $of (
    ['authors/id/N/NO/NOBODY/x.tgz',  'not-logged', {}],
    ['authors/id/P/PE/PENDING/x.tgz', 'pending',    {}],
    ['authors/id/B/BU/BUSY/x.tgz',    'busy',       {}],
    [$voided->{path},                 'voided',     { upload_index => '8', void_index => '9' }],
    ['authors/id/V/VA/VAGUE/x.tgz',   'voided',     { upload_index => '08' }],
    )
{
    my ($path, $reason, $metadata) = @{$of};
    my $error = { code => 'NOT_FOUND', reason => $reason, message => "$reason\n\x{1b}[1m", metadata => $metadata };
    $page{"${interface}path=$path"} = [404, JSON::PP->new->utf8->encode({ error => $error })];
}
$page{"${interface}path=authors/id/W/WE/WEB/x.tgz"}  = [404, '<html>'];
$page{"${interface}path=authors/id/L/LI/LIST/x.tgz"} = [404, '[1]'];
for my $of ([8 => $voided->{bundle}], [9 => $voided->{revocation}]) {
    my $bundle = CPAN::TLog::Bundle->parse($of->[1]);
    my ($note, $entry) = ($bundle->checkpoint, $bundle->entry);
    utf8::decode($_) for $note, $entry;
    $page{"${interface}index=$of->[0]"} = [
        200,
        JSON::PP->new->utf8->encode(
            {   index      => $of->[0],
                entry      => $entry,
                checkpoint => $note,
                hashes     => [map { encode_base64($_, q{}) } $bundle->hashes],
            }
        )
    ];
}

my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@\n";
my $url    = 'http://127.0.0.1:' . $server->sockport;
my $pid    = fork // die "fork: $!\n";
if (!$pid) {
    local $SIG{PIPE} = "IGNORE";
    while (my $client = $server->accept) {
        my ($request) = (<$client> // q{}) =~ /\AGET (\S+) HTTP/;
        while (defined(my $line = <$client>)) {
            last if $line =~ /\A\r?\n\z/;
        }
        my ($status, $body, $location) = @{ $page{ $request // q{} } || [404, 'nothing here'] };
        my $header = $location ? "Location: $location\r\n" : q{};
        print {$client} "HTTP/1.1 $status Said\r\n${header}Content-Length: ", length $body,
            "\r\nConnection: close\r\n\r\n$body";
        close $client;
    }
    exit 0;
}
close $server;

my $log = CPAN::TLog::Source->lookup("$url/", $policy);
is_deeply({ $log->fetch($good->{path}) },                   { bundle => $good->{bundle} }, 'the log has a proof');
is_deeply({ $log->fetch('authors/id/O/OD/ODD/a%b?c.tgz') }, { bundle => 'odd' },           'a path is escaped');

my %answer = $log->fetch('authors/id/N/NO/NOBODY/x.tgz');
is($answer{absence}, 'not-logged', 'the log says that a path is not logged');
like($answer{absence_detail}, qr/\A\Q$url\E says: not-logged/, 'in its words');
unlike($answer{absence_detail}, qr/[\x00-\x1F]/, 'and without control characters');
is({ $log->fetch('authors/id/P/PE/PENDING/x.tgz') }->{absence}, 'pending', 'or not published');
for my $path (qw(B/BU/BUSY W/WE/WEB L/LI/LIST V/VA/VAGUE L/LA/LARGE M/MO/MOVED U/UN/UNKNOWN)) {
    %answer = $log->fetch("authors/id/$path/x.tgz");
    ok(!exists $answer{bundle} && !defined $answer{absence}, "$path: no proof, and nothing is known");
    ok(length $answer{absence_detail},                       "$path: and it is said why");
}

like(
    { $log->fetch('authors/id/M/MO/MOVED/x.tgz') }->{absence_detail},
    qr/a redirect to another host, elsewhere\.example/,
    'it sends its readers to no other host'
);
is_deeply({ $log->fetch('authors/id/S/SA/SAME/x.tgz') }, { bundle => $good->{bundle} }, 'but elsewhere on its host');

%answer = $log->fetch($voided->{path});
my $result = CPAN::TLog::Verify->verify(
    policy => $policy,
    path   => $voided->{path},
    sha256 => sha256_hex($voided->{file}),
    size   => length $voided->{file},
    %answer,
);
is($result->outcome, 'revoked', 'the log proves that it voided an entry');

# The same words from somewhere else count for less.
{
    my $named = CPAN::TLog::Policy->parse($good->{policy} =~ s/^(log \S+)/$1 https:\/\/log.example\//mr);
    is({ CPAN::TLog::Source->lookup("$url/", $named)->fetch('authors/id/N/NO/NOBODY/x.tgz') }->{absence},
        'not-logged', 'this machine is trusted whatever the policy names');
}
for my $bad ('log.example', 'ftp:/x', 'https://', 'file:///etc', 'https://user@host/') {
    ok(!eval { CPAN::TLog::Source->lookup($bad, $policy); 1 }, "$bad is no log's address") if $bad !~ /^file/;
}

my $mirror = CPAN::TLog::Source->mirror("$url/mirror");
is_deeply({ $mirror->fetch($good->{path}) }, { bundle => $good->{bundle} }, 'a mirror has a proof');
is_deeply(
    { $mirror->fetch('authors/id/M/MO/MOVED/x.tgz') },
    { bundle => $good->{bundle} },
    'a mirror may send its readers on'
);
like({ $mirror->fetch('authors/id/N/NO/NOBODY/x.tgz') }->{absence_detail}, qr/404 Said/, 'or has none');

kill TERM => $pid;
waitpid $pid, 0;
%answer = $log->fetch('authors/id/N/NO/NOBODY/x.tgz');
ok(!exists $answer{bundle} && !defined $answer{absence}, 'without a server nothing is known');
like($answer{absence_detail}, qr/\A\Q$url\E/, 'and it is said what could not be reached');

my $dir = tempdir(CLEANUP => 1);

sub spew {
    my ($file, $bytes) = @_;
    open my $out, '>:raw', $file or die "$file: $!\n";
    print {$out} $bytes;
    close $out or die "$file: $!\n";
    return;
}
spew("$dir/x y.tgz.tlog-proof", 'text');
is_deeply(
    { CPAN::TLog::Source->local_files($dir)->fetch('authors/id/A/AB/ABC/x y.tgz') },
    { bundle => 'text' },
    'a folder of proofs'
);
is_deeply(
    { CPAN::TLog::Source->local_files("$dir/x y.tgz.tlog-proof")->fetch('any') },
    { bundle => 'text' },
    'one proof'
);
ok(!exists { CPAN::TLog::Source->local_files($dir)->fetch('any') }->{bundle}, 'a folder without it');
is_deeply(
    { CPAN::TLog::Source->mirror("file://$dir/")->fetch('x y.tgz') },
    { bundle => 'text' },
    'a mirror on this machine'
);
mkdir "$dir/sub dir" or die;
spew("$dir/sub dir/z.tlog-proof", 'x' x 300_000);
is(length { CPAN::TLog::Source->mirror("file://$dir/sub%20dir")->fetch('z') }->{bundle},
    262_145, 'no more is read than shows that it is too large');

done_testing;
