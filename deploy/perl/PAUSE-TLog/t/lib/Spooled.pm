package Spooled;

# A CPAN tree and a spool in a folder of their own, the hooks as PAUSE calls them, and the spool as its reader sees it.

use 5.016;
use strict;
use warnings;

use Digest::SHA ();
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use JSON::PP ();

use PAUSE::TLog;

our @EXPORT_OK = qw($root $spool put gone %added welcome_file newfile_hook delfile_hook events clear names reports);

our $temporary = File::Temp->newdir(TMPDIR => 1);
our $root      = "$temporary/cpan";
our $spool     = "$temporary/spool";

make_path("$root/authors/id", "$root/modules", "$spool/tmp", "$spool/new");
$PAUSE::Config = { MLROOT => "$root/authors/id/", TLOG_SPOOL => $spool };
delete $ENV{PAUSE_TLOG_SPOOL};

# put makes a file below the CPAN root and returns its absolute name.
sub put {
    my ($path, $bytes) = @_;
    make_path(dirname("$root/$path"));
    open my $out, '>:raw', "$root/$path" or die "$root/$path: $!";
    print {$out} $bytes or die $!;
    close $out or die $!;
    return "$root/$path";
}

sub gone { unlink "$root/$_[0]" or die "$root/$_[0]: $!"; return }

# The three places in PAUSE, with the lines that pause.patch adds there.
our %added = added();
$PAUSE::HAVE_TLOG = 1;

# In bin/paused. The second argument is the size that it is given, which for some files is their name.
eval <<"END" or die $@;
    sub welcome_file {
        my (\$self, \$size) = \@_;
        my \$hash = \$self->{URIRECORD};
        \$hash->{dgot} = \$self->{NOW};
        $added{welcome_file}
        return;
    }
    1;
END

# In lib/PAUSE.pm, where \$HAVE_TLOG is the package's own.
eval <<"END" or die $@;
    package PAUSE;
    our \$HAVE_TLOG;
    sub newfile_hook { $added{newfile_hook} }
    sub delfile_hook { $added{delfile_hook} }
    1;
END

sub newfile_hook { return PAUSE::newfile_hook(@_) }
sub delfile_hook { return PAUSE::delfile_hook(@_) }

# added returns the lines that the patch adds to what is there already, by the function that they are added to.
sub added {
    my (%lines, $function, $new_file);
    open my $patch, '<', dirname(__FILE__) . '/../../pause.patch' or die "pause.patch: $!";
    while (my $line = <$patch>) {
        $new_file = 0 if $line =~ /\Adiff /;
        $new_file = 1 if $line =~ /\Anew file/;
        $function = q{} if $line =~ /\A@@/;
        $function = $1 if $line =~ /\A(?:@@.*@@)? sub (\w+)/;
        die "pause.patch takes away: $line" if $line =~ /\A-(?!-- )/;
        $lines{$function} .= $1 if !$new_file && $line =~ /\A[+](?![+][+] )(.*\n)/;
    }
    return %lines;
}

sub names {
    my ($folder) = @_;
    opendir my $dir, "$spool/$folder" or die "$spool/$folder: $!";
    my @names = sort grep { !/\A[.]/ } readdir $dir;
    return @names;
}

# events reads what is new, in the order of the names, and dies if a file is not as it was agreed with the reader.
sub events {
    my @events;
    for my $name (names('new')) {
        die "name $name" if $name !~ /\A[0-9]{10}[.][0-9]{6}-[0-9]+-[0-9]+[.]json\z/a;
        open my $in, '<:raw', "$spool/new/$name" or die $!;
        my $line = do { local $/ = undef; <$in> };
        die "$name: $line" if $line !~ /\A\{[\x20-\x7E]*\}\n\z/a || length $line > 4096;
        my $event = JSON::PP->new->decode($line);
        die "$name: $line" if join(q{ }, sort keys %{$event}) ne 'by kind path sha256 size spool time';
        push @events, $event;
    }
    return @events;
}

sub clear {
    unlink glob "$spool/new/* $spool/tmp/*";
    return;
}

# reports returns what was warned of while the code ran.
sub reports {
    my ($code) = @_;
    my @said;
    local $SIG{__WARN__} = sub { push @said, @_ };
    $code->();
    return @said;
}

1;
