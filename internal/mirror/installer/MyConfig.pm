# The settings of CPAN.pm for one run with a verifying mirror: the user's own, but for where
# files come from and what is kept between runs.
use strict;

my %user;
{
    my $home = defined $ENV{HOME} ? $ENV{HOME} : '';
    my $data = defined $ENV{XDG_DATA_HOME} ? $ENV{XDG_DATA_HOME} : "$home/.local/share";
    for my $file ((map { "$_/.cpan/CPAN/MyConfig.pm" } $data, $home), map { "$_/CPAN/Config.pm" } grep { !ref } @INC) {
        next unless -f $file;
        local $CPAN::Config;
        local $@;
        do $file;
        if (ref $CPAN::Config eq 'HASH') { %user = %$CPAN::Config; last }
    }
}

my $which = sub {
    for my $dir (split /:/, defined $ENV{PATH} ? $ENV{PATH} : '') {
        return "$dir/$_[0]" if $dir ne '' && -x "$dir/$_[0]";
    }
    return '';
};
my ($mirror, $private) = ('@MIRROR@', '@PRIVATE@');

my %default = (
    allow_installing_module_downgrades => 'ask/no', allow_installing_outdated_dists => 'ask/no', applypatch => '',
    build_cache => 100, build_requires_install_policy => 'yes', bzip2 => $which->('bzip2'), check_sigs => 0,
    cleanup_after_install => 0, colorize_output => 0, commandnumber_in_prompt => 1, commands_quote => '', curl => '', ftp => '',
    ftp_passive => 1, getcwd => 'cwd', gpg => $which->('gpg'), gzip => $which->('gzip'), halt_on_failure => 0, histsize => 100,
    inactivity_timeout => 0, load_module_verbosity => 'none', lynx => '', make => $which->('make'), make_arg => '',
    make_install_arg => '', make_install_make_command => $which->('make'), makepl_arg => '', mbuild_arg => '',
    mbuild_install_arg => '', mbuild_install_build_command => './Build', mbuildpl_arg => '', ncftp => '', ncftpget => '',
    no_proxy => '', pager => 'cat', patch => $which->('patch'), perl5lib_verbosity => 'none', prefer_external_tar => 1,
    prefer_installer => 'MB', prefs_dir => "$private/prefs", prerequisites_policy => 'follow', randomize_urllist => 0, recommends_policy => 1,
    scan_cache => 'never', shell => '/bin/sh', show_unparsable_versions => 0, show_upload_date => 0, show_zero_versions => 0,
    suggests_policy => 0, tar => $which->('tar'), tar_verbosity => 'none', term_is_latin => 1, term_ornaments => 1, test_report => 0,
    trust_test_report_history => 0, unzip => $which->('unzip'), urllist_ping_external => 0, urllist_ping_verbose => 0,
    use_prompt_default => 0, use_sqlite => 0, version_timeout => 15, wget => '', yaml_load_code => 0, yaml_module => 'YAML',
);

my %ours = (
    urllist => ["$mirror/"], pushy_https => 0, connect_to_internet_ok => 0,
    http_proxy => '', ftp_proxy => '', no_proxy => '127.0.0.1,localhost', dontload_hash => $user{dontload_hash} || {},
    cpan_home => $private, keep_source_where => "$private/sources", build_dir => "$private/build", build_dir_reuse => 0,
    histfile => "$private/histfile", index_expire => 0.0001, cache_metadata => 0, use_sqlite => 0, auto_commit => 0,
);

$CPAN::Config = { %default, %user, %ours };

1;
