package PAUSE::TLog;

use 5.016;
use strict;
use warnings;

use Digest::SHA ();
use Fcntl       ();
use IO::Handle  ();
use POSIX       ();
use Time::HiRes ();

our $VERSION = '0.001';

# The indexes that are logged, below the CPAN root.
my %IS_INDEX = map { $_ => 1 } qw(
    authors/01mailrc.txt.gz
    modules/02packages.details.txt
    modules/02packages.details.txt.gz
    modules/06perms.txt
    modules/06perms.txt.gz
);

my $MAX_PATH = 512;
my $CHUNK    = 64 * 1024;

# A FIFO must not make us wait, a terminal not become ours, and a symbolic link is no upload. Not every system can
# refuse to follow one.
my $NOFOLLOW = eval { Fcntl::O_NOFOLLOW() } || 0;
my $TO_READ  = Fcntl::O_RDONLY() | Fcntl::O_NONBLOCK() | Fcntl::O_NOCTTY() | $NOFOLLOW;
my $TO_WRITE = Fcntl::O_WRONLY() | Fcntl::O_CREAT() | Fcntl::O_EXCL();

# What a program may have a handler for that ends in an exception.
my $DEFERRED = POSIX::SigSet->new(
    POSIX::SIGALRM(), POSIX::SIGCHLD(), POSIX::SIGHUP(),  POSIX::SIGINT(),
    POSIX::SIGQUIT(), POSIX::SIGTERM(), POSIX::SIGUSR1(), POSIX::SIGUSR2(),
);

# Makes the names of one process differ within a microsecond.
my $count = 0;

sub uploaded { my ($file, %of) = @_; return guarded('upload', $file, %of) }
sub changed  { my ($file)      = @_; return guarded('index',  $file) }
sub deleted  { my ($file, %of) = @_; return guarded('delete', $file, %of) }

# guarded runs spool so that the caller notices nothing of it. The eval would swallow the exception with which a
# handler of the caller's ends, a timeout for example. Such signals therefore wait until the eval is left.
sub guarded {
    my @event  = @_;
    my $before = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $before);

    # A signal that came just before is handled here: perl looks for them at an `or`.
    my ($held, $due);
    {
        local ($@, $SIG{__DIE__});
        $held = eval { POSIX::sigprocmask(POSIX::SIG_BLOCK(), $DEFERRED) or 1; 1 };
        $due  = $@;
    }
    if (!$held) {
        POSIX::sigprocmask(POSIX::SIG_SETMASK(), $before);
        die $due;
    }

    my $written;
    {
        local ($@, $!, $?);
        local $SIG{__DIE__};
        local $SIG{XFSZ} = 'IGNORE';    # a limit on the size of files is an error, not the end of the program
        eval { $written = spool(@event); 1 } or report("unexpected: $@");
    }
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), $before) or 1;    # and what came meanwhile, here
    return $written ? 1 : 0;
}

# spool is a straight line: what the name decides, before any I/O; the file's digest; the spool file.
sub spool {
    my ($kind, $file, %of) = @_;
    my $folder = folder()                        // return 0;
    my $path   = defined $file ? cpan_path($file) : undef;
    return 0 if !defined $path || !($kind eq 'index' ? $IS_INDEX{$path} : is_upload($path));

    my ($sha256, $size, $unread, $other) = digest($file);
    if (defined $unread) {
        report("$kind $path: cannot read it: $unread");
        return 0 if $other && $kind ne 'delete';    # an upload and an index are regular files
    }
    my $failure = write_to($folder, sprintf
        qq({"spool":1,"kind":"%s","path":"%s","sha256":%s,"size":%s,"time":"%s","by":%s}\n),
        $kind, $path =~ s/(["\\])/\\$1/gr, defined $sha256 ? qq("$sha256") : 'null', $size // 'null',
        utc($of{time}), ($of{by} // q{}) =~ /\A[A-Z][A-Z0-9-]{1,9}\z/a ? qq("$of{by}") : 'null');
    return 1 if !defined $failure;
    report("$kind $path: cannot write to the spool: $failure");
    return 0;
}

# folder asks at each call: the tests of PAUSE set $PAUSE::Config for the time of a block. It must not come into being
# by our asking, because PAUSE fills it only if it is not there.
sub folder {
    my $config = $PAUSE::Config || {};
    my $folder = $config->{TLOG_SPOOL} // $ENV{PAUSE_TLOG_SPOOL} // q{};
    return length $folder ? $folder : undef;
}

# cpan_path returns a file's path below the CPAN root, or undef if it is not there or the path cannot be logged. PAUSE
# knows MLROOT, with or without a slash at its end, and names what is beside it by going up: $MLROOT/../../modules/FILE.
sub cpan_path {
    my ($path) = @_;
    my $mlroot = ($PAUSE::Config || {})->{MLROOT} // return;
    tr{/}{}s for $path, $mlroot;
    $mlroot =~ s{/\z}{};
    my ($root) = $mlroot =~ m{\A(|/[^\0]+)/authors/id\z} or return;
    $path =~ s{\A\Q$mlroot\E/[.][.]/[.][.]/}{$root/} or $path =~ s{\A\Q$mlroot\E/[.][.]/}{$root/authors/};
    return if substr($path, 0, 1 + length $root) ne "$root/";
    $path = substr $path, 1 + length $root;
    return if $path !~ /\A[\x21-\x7E]{1,$MAX_PATH}\z/a;
    return if grep { $_ eq q{} || $_ eq q{.} || $_ eq q{..} } split m{/}, $path, -1;
    return $path;
}

# is_upload says by the path alone whether a file can be what the log calls an upload: an archive, patch or module
# below its author's folder that never changes, and neither a document, which may be uploaded again under its name (as
# may_overwrite_file in lib/PAUSE.pm has it), nor one of the files that PAUSE makes beside an archive.
sub is_upload {
    my ($path) = @_;
    my ($name) = $path =~ m{\Aauthors/id/([A-Z])/(\1[A-Z0-9-])/\2[A-Z0-9-]{0,8}/(?:.+/)?([^/]+)\z}a ? $3 : return 0;
    return 0 if $name =~ /\A(?:CHECKSUMS|[.])|(?:[.](?:meta|readme|tlog-proof|tmp|part)|~)\z/a;
    $name =~ s/[.](?:gz|bz2)\z//ai;
    return 0 if $name =~ /(?:readme|[.](?:html|txt|mkdn|md|xml|yml|json|pdf|rdf|pod))\z/ai;
    return 1;
}

# digest returns a file's SHA-256 and size, both from one opened handle, so that they belong together whatever happens
# to the name meanwhile. Otherwise the third value says why not, and the fourth is true if it is no regular file. It
# reads no more than the size at the start, so it ends even if somebody appends as fast as we read.
sub digest {
    my ($file) = @_;
    sysopen my $in, $file, $TO_READ or return (undef, undef, "$!", $!{ELOOP});
    binmode $in;
    my $size = (stat $in)[7];
    return (undef, undef, 'it is not a regular file', 1) if !-f _;
    my $sha  = Digest::SHA->new(256);
    my $read = 0;
    while (1) {
        my $left = $size - $read;
        my $got  = sysread $in, my $bytes, $left < $CHUNK ? $left + 1 : $CHUNK;
        return (undef, undef, "$!") if !defined $got;
        last if !$got;
        $read += $got;
        last if $read > $size;
        $sha->add($bytes);
    }
    return (undef, undef, 'it changed while it was read') if $read != $size;
    return ($sha->hexdigest, $size);
}

# write_to makes one spool file and returns why it could not. As in a Maildir nobody looks into tmp/, so a crash before
# the rename leaves something there that the reader removes after a day, and new/ has whole files only.
sub write_to {
    my ($folder, $line) = @_;
    return "$folder is not an absolute path" if $folder !~ m{\A/[^\0]*\z};
    my $name = sprintf '%010d.%06d-%d-%d.json', Time::HiRes::gettimeofday(), $$, $count++;
    my ($tmp, $new) = ("$folder/tmp/$name", "$folder/new/$name");
    sysopen my $out, $tmp, $TO_WRITE, 0644 or return "create $tmp: $!";
    my $failure = fill($out, $line);
    $failure //= "rename to $new: $!" if !defined $failure && !rename $tmp, $new;
    if (defined $failure) {
        unlink $tmp;
        return $failure;
    }
    sync_folder("$folder/new");
    return;
}

sub fill {
    my ($out, $line) = @_;
    binmode $out;
    my $put = syswrite $out, $line;
    return "write: $!" if !defined $put;
    return sprintf 'write: %d bytes of %d', $put, length $line if $put != length $line;
    return "chmod: $!" if !chmod 0644, $out;    # whatever the umask: the reader is another user, and nothing is secret
    return "sync: $!"  if !$out->sync;
    return "close: $!" if !close $out;
    return;
}

# sync_folder makes the rename durable. Where a folder cannot be opened or synced, a power cut in the next seconds can
# take the file back, and the reader's walk through the tree finds what it told of.
sub sync_folder {
    my ($folder) = @_;
    sysopen my $dir, $folder, Fcntl::O_RDONLY() or return;
    $dir->sync;
    return;
}

# utc writes a time in seconds since 1970, or the present one if there is none.
sub utc {
    my ($time) = @_;
    $time = time if ($time // q{}) !~ /\A[0-9]{1,10}\z/a;
    my ($second, $minute, $hour, $day, $month, $year) = gmtime $time;
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $year + 1900, $month + 1, $day, $hour, $minute, $second;
}

# report says it once, where PAUSE says such things, or as a warning in a program without PAUSE's logger.
sub report {
    my ($text) = @_;
    $text = "PAUSE::TLog: $text";
    chomp $text;
    eval { PAUSE::Logger->current_logger->log($text); 1 } or eval { warn "$text\n" };
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

PAUSE::TLog - leave word of what was published for the transparency log

=head1 SYNOPSIS

    $PAUSE::Config->{TLOG_SPOOL} = '/var/spool/pauselog';

    PAUSE::TLog::uploaded($file, by => $hash->{changedby}, time => $hash->{dgot});
    PAUSE::TLog::changed($file);
    PAUSE::TLog::deleted($file);

=head1 DESCRIPTION

pauselog is a public, append-only list of what PAUSE published. This module tells it: each call writes one small file
into a folder, the spool. A program of its own, C<pauselog agent>, reads it there and submits it to the log. There is no
network here and nothing to wait for but the disk.

Nothing that happens here reaches the caller. The functions never die and never print; C<$@>, C<$!>, C<$?>, C<%SIG> and
the other global variables are what they were. They return true if a file was written, and false otherwise. What fails
is one line in PAUSE's log (L<PAUSE::Logger>), or a warning where that is not loaded. The agent also walks through the
tree each hour, and finds what the spool does not tell.

A signal that arrives during a call is handled when the call returns, so a timeout of the caller's is not lost. An
exception from the caller's own handler is the only one that can leave a call.

=head1 FUNCTIONS

The file is an absolute name below the CPAN root, which is F<../..> of C<< $PAUSE::Config->{MLROOT} >>. Its name
decides first, before anything is opened, and all but the names given here are passed over.

=head2 uploaded($file, by => $pauseid, time => $seconds)

A file that an author uploaded is at its final place. Call it when the file has its final bytes: digest and size are
taken from the file itself. C<by> is the PAUSE id that entered the upload, and C<time> when PAUSE got it, in seconds
since 1970; by default now.

Passed over are documents that may be uploaded again under their name (see C<may_overwrite_file> in L<PAUSE>),
F<CHECKSUMS>, F<*.meta>, F<*.readme>, F<*.tlog-proof>, dotfiles and temporary files.

=head2 changed($file)

A file was written anew. Of interest are F<authors/01mailrc.txt.gz>, F<modules/02packages.details.txt> and
F<modules/06perms.txt>, the latter two also with F<.gz>.

=head2 deleted($file, by => $pauseid)

A file that was an upload is about to be deleted. Call it before the file is unlinked, or the digest is not known.
C<by> is the PAUSE id that asked for it, if known.

=head1 CONFIGURATION

=over

=item C<< $PAUSE::Config->{TLOG_SPOOL} >>

The absolute name of the spool, a folder with the folders F<tmp> and F<new> on the same file system. Without it, or if
it is empty, nothing is done.

=item C<PAUSE_TLOG_SPOOL>

The same in the environment, used if the configuration does not have the key.

=back

=head1 SPOOL FILES

F<new/SSSSSSSSSS.UUUUUU-PID-COUNT.json>: seconds since 1970 and microseconds, the process and a counter in it. A file
is one line, a JSON object in ASCII:

    {"spool":1,"kind":"upload","path":"authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz","sha256":"3300...",
     "size":35784,"time":"2026-11-22T10:00:00Z","by":"ETHER"}

(here in two). C<kind> is C<upload>, C<index> or C<delete>. C<sha256> and C<size> are null if the file could not be
read, and C<by> if it is not known. A symbolic link, a folder or a FIFO is not an upload and not an index, and leaves no
file; its deletion leaves one, without digest.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
