#!perl

# The distribution as a whole: what is in it, its documentation, and the perl that it says it needs.

use 5.016;
use strict;
use warnings;

use FindBin    qw($Bin);
use File::Find qw(find);
use File::Spec;
use JSON::PP ();
use Pod::Checker;
use Test::More;

my $root = File::Spec->catdir($Bin, File::Spec->updir);
chdir $root or die "$root: $!\n";

sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

my @files;
find({ no_chdir => 1, wanted => sub { push @files, $_ =~ s{\A\./}{}r if -f } }, '.');

# Built, and not part of it.
@files = grep { !m{\A(?:blib/|pm_to_blib|Makefile(?:\.old)?\z|MYMETA\.|.*\.(?:tar\.gz|bak)\z)} } @files;
is_deeply([sort split /\n/, slurp('MANIFEST')], [sort @files], 'MANIFEST has every file');

my @modules = grep { /\Alib\/.*\.pm\z/ } @files;
my @code    = (@modules, 'bin/pauselog-verify');
my $meta    = JSON::PP->new->utf8->decode(slurp('META.json'));
is_deeply([sort map { $_->{file} } values %{ $meta->{provides} }], [sort @modules], 'META.json has every module');
SKIP: {
    skip 'no CPAN::Meta', 1 if !eval { require CPAN::Meta; 1 };
    ok(eval { CPAN::Meta->load_file('META.json') }, 'META.json is valid') or diag $@;
}
like(slurp('Changes'), qr/^\Q$meta->{version}\E +[0-9]{4}-[0-9]{2}-[0-9]{2}$/m, 'Changes has the version');

for my $file (@code) {
    my $text = slurp($file);
    my $sink;
    open my $out, '>', \$sink or die;
    my $checker = Pod::Checker->new(-warnings => 1);
    $checker->parse_from_file($file, $out);
    is($checker->num_errors + $checker->num_warnings, 0, "$file: POD") or diag $sink;
    like($text, qr/^=head1 NAME\n\n\S+ - \S/m, "$file: NAME");
    like($text, qr/^=head1 LICENSE$/m,         "$file: LICENSE");
    is(($text =~ /^our \$VERSION = '([0-9.]+)';$/m)[0], $meta->{version}, "$file: version") if $file =~ /\.pm\z/;
    my @long = grep { length > 125 } split /\n/, $text;
    is("@long", q{}, "$file: lines are short");
}

# What is newer than perl 5.16 and does not fail to compile on a newer perl. It is a list of patterns, and no parser:
# with Perl::MinimumVersion that is asked too.
my %newer = (
    'postfix dereference (5.20)'             => qr/->(?:[\@%\$&]\*|\@[\[{])/,
    'key/value slices (5.20)'                => qr/(?<![%\w\$\@&])%\$?\w+[\[{]/,
    'signatures (5.20)'                      => qr/\bsub\s+\w*\s*\(\s*[\$\@%]\w/,
    'double diamond (5.22)'                  => qr/<<>>/,
    'string bitwise operators (5.22)'        => qr/[|&^]\.=?\s/,
    'the modifier n (5.22)'                  => qr/\bqr\/[^\/]*\/[a-z]*n/,
    'heredocs that are indented (5.26)'      => qr/<<~/,
    'unicode_strings delimiters, isa (5.32)' => qr/\w\s+isa\s+\w/,
    'chained comparisons (5.32)'             => qr/\$\w+\s*<=?\s*\$\w+\s*<=?\s*\$\w+/,
    'try, defer, builtin (5.34)'             => qr/^\s*(?:try|defer)\s*\{|\bbuiltin::/m,
    'feature say of a newer bundle'          => qr/\buse\s+(?:v?5\.0?(?:1[7-9]|[2-9][0-9])|feature|experimental)/,
);
for my $file (@code, grep { /\At\/.*(?:\.t|\.pm)\z/ && $_ ne 't/release.t' } @files) {
    my $text = slurp($file) =~ s{^__END__\n.*}{}msr =~ s/^\s*#.*$//mgr;
    like($text, qr/^use 5\.016;\n+use strict;\nuse warnings;$/m, "$file: use 5.016, strict and warnings");
    is(join(', ', grep { $text =~ $newer{$_} } sort keys %newer), q{}, "$file: nothing newer");
SKIP: {
        skip 'no Perl::MinimumVersion', 1 if !eval { require Perl::MinimumVersion; 1 };
        cmp_ok(
            Perl::MinimumVersion->new($file)->minimum_version, '<=',
            version->parse('5.016'),                           "$file: Perl::MinimumVersion"
        );
    }
}

# All that is used is part of perl 5.16, but for what is asked for by name.
my %core = map { $_ => 1 } qw(
    Config Cwd Digest::SHA Exporter Fcntl File::Basename File::Path File::Spec File::Temp Getopt::Long HTTP::Tiny IO::Handle
    IO::Uncompress::Gunzip JSON::PP MIME::Base64 Math::BigInt integer overload strict warnings
);
for my $file (@code) {
    my $text  = slurp($file) =~ s{^__END__\n.*}{}msr =~ s/^\s*#.*$//mgr;
    my @other = grep { !$core{$_} && !/\ACPAN::(?:TLog|Plugin::TLog)\b/ }
        $text =~ /^\s*(?:use|require)\s+([A-Z]\w*(?:::\w+)*|integer|overload)/mg;
    is("@other", q{}, "$file: core modules only");
    unlike(
        $text,
        qr/\beval\s*(?:\$|"|'|q)|\bdo\s+\$|`|\bqx\b|\bpack\W*\(?\W*['"][^'"]*[qQ]/,
        "$file: no eval of data, no shell, no 64-bit pack"
    );
}

done_testing;
