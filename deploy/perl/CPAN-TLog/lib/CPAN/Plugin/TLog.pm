package CPAN::Plugin::TLog;

use 5.016;
use strict;
use warnings;

use File::Spec;

use CPAN::TLog::Encoding qw(plain);
use CPAN::TLog::Error;
use CPAN::TLog::File qw(digest_of);
use CPAN::TLog::Files;
use CPAN::TLog::Memory;
use CPAN::TLog::Outcome;
use CPAN::TLog::Policy;
use CPAN::TLog::Result;
use CPAN::TLog::Search;
use CPAN::TLog::Source;

our $VERSION = '0.001';

my %KNOWN = map { $_ => 1 } qw(policy proofs log lookup mode max_age verbose);

# new is called by the CPAN shell with the words of plugin_list. A mistake in them stops the shell: without the plugin,
# nothing would be verified.
sub new {
    my ($class, @args) = @_;
    my $self = eval {
        wrong('expected pairs of a word and a value, found %s', join q{,}, @args) if @args % 2;
        my %arg = @args;
        my ($unknown) = grep { !$KNOWN{$_} } sort keys %arg;
        wrong('%s is none of %s', $unknown, join ', ', sort keys %KNOWN) if defined $unknown;
        my $mode = $arg{mode} // 'require';
        wrong('mode: expected require or prefer, found %s', $mode) if $mode !~ /\A(?:require|prefer)\z/a;
        wrong('max_age: expected a number of seconds, found %s', $arg{max_age})
            if defined $arg{max_age} && $arg{max_age} !~ /\A[1-9][0-9]{0,9}\z/a;
        wrong('lookup: expected 1 or 0, found %s', $arg{lookup}) if ($arg{lookup} // 0) !~ /\A[01]\z/a;

        # From this machine, never from a mirror or the network.
        my $file = $arg{policy} // CPAN::TLog::Policy->find_file;
        wrong('there is no policy: name one with policy,FILE, or put it at %s',
            join ' or ', CPAN::TLog::Policy->candidates) if !defined $file;
        my $policy = CPAN::TLog::Policy->read_file($file);
        my $self   = bless { %arg, mode => $mode, policy => $policy, verified => {}, trees => {} }, $class;
        $self->open_sources;
        $self;
    };
    return $self || stop(CPAN::TLog::Error->caught($@)->message);
}

# open_sources makes those sources that do not depend on the mirrors.
sub open_sources {
    my ($self) = @_;
    my $policy = $self->{policy};
    my %with   = (policy => $policy, memory => scalar CPAN::TLog::Memory->new);
    my $url    = $self->{log} // CPAN::TLog::Source::log_url($policy);
    wrong('log: expected the URL of a log, https://..., found %s', $url) if defined $url && $url !~ m{\Ahttps?://[^/]}a;
    wrong('lookup: the policy does not say where the log is: say it with log,URL') if $self->{lookup} && !defined $url;
    $self->{with}      = \%with;
    $self->{own}       = [defined $self->{proofs} ? CPAN::TLog::Source->proofs($self->{proofs}, %with) : ()];
    $self->{log_files} = [CPAN::TLog::Source->log_files($url, %with)];
    $self->{asked}     = [$self->{lookup} ? CPAN::TLog::Source->lookup($url, $policy) : ()];
    return;
}

sub wrong {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(policy => $format, @args);
}

# pre_get fetches the file as the shell is about to, and verifies it, so that of a file that is not verified nothing is
# even unpacked.
sub pre_get {
    my ($self, $dist) = @_;
    return if $self->is_passed_over($dist);
    my $path = path_of($dist);
    my $file = $dist->get_file_onto_local_disk;
    my $known = $self->{verified}{$path};
    return if $known && $known->{sha256} eq $self->digest($path, $file)->{sha256};

    # What an earlier session unpacked is not what this one verifies.
    stop("$path was unpacked into $dist->{build_dir} before it was verified: start over with 'force get "
        . $dist->pretty_id . q{'}) if !$known && defined $dist->{build_dir} && -d $dist->{build_dir};
    my $held = $self->digest($path, $file);
    $self->judge($path, $file, $held);
    $self->{verified}{$path} = $held;
    return;
}

# post_get is when all is unpacked and nothing has run: the file must still be the one that was verified.
sub post_get {
    my ($self, $dist) = @_;
    return if $self->is_passed_over($dist);
    my $path  = path_of($dist);
    my $known = $self->{verified}{$path};
    if (!$known) {
        return if !defined $dist->{build_dir};
        stop("$path was unpacked and not verified");
    }
    my $now = $self->digest($path, $dist->{localfile} // $known->{file});
    return if $now->{sha256} eq $known->{sha256};
    delete $self->{verified}{$path};
    stop("$path changed while it was unpacked: expected sha256 $known->{sha256}, found sha256 $now->{sha256}. "
        . "Do not use $dist->{build_dir}");
    return;
}

# is_passed_over: a folder of the user's own was not downloaded; and what the user's preferences disable or replace is
# not unpacked. What they replace it with is asked about in its turn.
sub is_passed_over {
    my ($self, $dist) = @_;
    return 1 if substr($dist->id, -1) eq q{.};
    my $prefs = $dist->prefs || {};
    return $prefs->{goto} || $dist->check_disabled ? 1 : 0;
}

sub path_of { return 'authors/id/' . $_[0]->id }

sub digest {
    my ($self, $path, $file) = @_;
    my ($sha256, $size) = eval { digest_of($file) };
    stop("$path: " . CPAN::TLog::Error->caught($@)->message) if !defined $size;
    return { sha256 => $sha256, size => $size, file => $file };
}

# judge returns if the file may be unpacked.
sub judge {
    my ($self, $path, $file, $held) = @_;
    my $result = eval { $self->verify($path, $held) }
        // CPAN::TLog::Result->failed(CPAN::TLog::Error->caught($@)->message, path => $path);
    if ($result->outcome eq 'verified') {
        frontend()->myprint($result->message . "\n") if $self->{verbose};
        return;
    }
    $self->keep_evidence($result);
    my $reason = $result->reason($path);
    if (!CPAN::TLog::Outcome::stops($result->outcome, $self->{mode})) {
        frontend()->mywarn("CPAN::Plugin::TLog: not verified, and let pass because of mode,prefer\n$reason");
        return;
    }
    $reason .= $self->set_aside($file) if $result->outcome eq 'mismatch';
    stop("refusing to unpack $path\n$reason");
    return;
}

sub verify {
    my ($self, $path, $held) = @_;
    return CPAN::TLog::Search->verify(
        [$self->sources],
        policy => $self->{policy}, memory => $self->{with}{memory}, path => $path, sha256 => $held->{sha256},
        size => $held->{size}, now => time, max_age => $self->{max_age},
    );
}

# sources are, in this order, what the user has, the log's own proof tree, those of the mirrors, and what lies beside the
# mirror's files: a proof there stays valid after its entry was voided, and a tree knows of voids, which a mirror could
# hide. Only with lookup is anybody told a path who does not deliver the file: if a mirror is on this machine, no other.
sub sources {
    my ($self) = @_;
    my @mirrors = mirrors();
    my @trees = map { $self->{trees}{$_} ||= CPAN::TLog::Source->tree($_, %{$self->{with}}) } @mirrors;
    my @local  = grep { m{\Afile:}ai } @mirrors;
    my @beside = map { CPAN::TLog::Source->mirror($_) } @local ? @local : @mirrors;
    return (@{$self->{own}}, @{$self->{log_files}}, @trees, @beside, @{$self->{asked}});
}

# mirrors are where the shell gets files from, those on this machine first.
sub mirrors {
    no warnings 'once'; ## no critic (ProhibitNoWarnings)
    my $config = $CPAN::Config || {};
    my @urls   = map { "$_" } grep { defined && length } @{$config->{urllist} || []};
    my @files  = grep { m{\Afile://(?:localhost)?/}ai } @urls;
    my @web    = grep { m{\Ahttps?://}a } @urls;
    unshift @web, 'https://cpan.org/' if !defined $config->{pushy_https} || $config->{pushy_https};

    # An address that the shell can make something of, and that is no plain URL, has no proofs.
    my %seen;
    return grep { !$seen{$_}++ && eval { CPAN::TLog::Files->at($_); 1 } } @files, @web;
}

sub keep_evidence {
    my ($self, $result) = @_;
    my $evidence = $result->evidence or return;
    my $memory   = $self->{with}{memory};
    return if $memory && eval { $result->{evidence_path} = $memory->write_evidence($evidence) };
    frontend()->mywarn("the evidence could not be written. It follows, keep it:\n" . $evidence->text);
    return;
}

# set_aside renames a copy of the shell's own, so that the next attempt downloads the file again. A mirror's file is
# left alone.
sub set_aside {
    my ($self, $file) = @_;
    no warnings 'once'; ## no critic (ProhibitNoWarnings)
    my $sources = File::Spec->rel2abs($CPAN::Config->{keep_source_where} // return q{});
    my $inside  = File::Spec->abs2rel(File::Spec->rel2abs($file), $sources);
    return q{} if File::Spec->file_name_is_absolute($inside) || (File::Spec->splitdir($inside))[0] eq File::Spec->updir;
    return q{} if !rename $file, "$file.refused";
    return sprintf "  %-9s %s\n", 'kept as:', plain("$file.refused");
}

sub frontend {
    no warnings 'once'; ## no critic (ProhibitNoWarnings)
    return $CPAN::Frontend;
}

# stop ends the shell's command. It must not return, whatever the frontend does.
sub stop {
    my ($message) = @_;
    $message =~ s/\n*\z/\n/;
    frontend()->mydie("CPAN::Plugin::TLog: $message");
    die "CPAN::Plugin::TLog: $message";
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::Plugin::TLog - let the CPAN shell unpack only what PAUSE published

=head1 SYNOPSIS

    cpan> o conf plugin_list push CPAN::Plugin::TLog=policy,/etc/pauselog/policy
    cpan> o conf commit

=head1 DESCRIPTION

With this plugin the CPAN shell checks, of each file that it downloads, that the log has an entry of its path with its
bytes, before it unpacks it (L<CPAN::TLog> says what that means). Nothing is asked and nothing is said while all is
well. Otherwise the shell stops with the reason, the innocent causes first, and what to do.

What you have in a folder of your own (C<cpan .>) was not downloaded, and is not checked. Neither is the index, from which
the shell takes which release is the newest: a mirror with an old index can offer an old release. C<pauselog exec -- cpan>
checks that too.

The proofs are looked for

=over 4

=item 1.

in C<proofs>, if that is given;

=item 2.

in the proof tree that the log serves itself, if the policy names an address that begins with C<http>;

=item 3.

in the proof trees of the mirrors in C<urllist>: their F<modules/tlog>. They are looked for once;

=item 4.

beside the mirrors' files, as F<FILE.tlog-proof>;

=item 5.

from the log, asked by the file's path, and only with C<lookup>.

=back

Of a proof tree (L<CPAN::TLog::Tree>) the plugin reads a shard of the index, which has thousands of paths, and parts of
the log that many files share. So nobody learns what you install but the mirror that you fetch it from; unless you say
C<lookup>. A proof that proves nothing is as good as none, and the next source is tried. If the log's own proof tree does
not list a path, the outcome is C<not-logged>; that another one does not is merely no proof.

The newest checkpoint of the log is remembered in the folder that C<pauselog> uses (L<CPAN::TLog::Memory>). A tree that
contradicts it convicts the log, and an evidence file is written.

=head1 ARGUMENTS

They follow the plugin's name in C<plugin_list>, separated by commas: C<policy,FILE,mode,require>. No value can hold
a comma.

=over 4

=item policy,FILE

Which log and which witnesses are trusted (L<CPAN::TLog::Policy>). If it is left out, it is the file that the
environment variable C<CPAN_TLOG_POLICY> names, or F<pauselog/policy> in C<$XDG_CONFIG_HOME> (F<~/.config>), or in
F</etc>. It is never taken from a mirror or the network.

=item proofs,PLACE

Proofs that you have: a folder or a URL with a proof tree; a folder with F<authors/id/.../FILE.tlog-proof> or
F<FILE.tlog-proof> in it; a pack of proofs, F<FILE.tlog-proofs>, of up to 64 MiB; or one F<FILE.tlog-proof>.

=item log,URL

The log's address, if it is not that of the policy.

=item lookup,1

Ask the log for what no other source proves. It learns which files these are.

=item mode,require or mode,prefer

C<require>, which is the default, lets nothing pass but what is verified. C<prefer> warns where something is missing or
old, and stops where something is wrong. It is for the time in which not everything is logged and not every mirror
has proofs, and is no protection against an attacker, who needs only to withhold the proof.

=item max_age,SECONDS

How old the proof's checkpoint may be.

=item verbose,1

Says so if a file is verified.

=back

=head1 METHODS

The CPAN shell calls them (L<CPAN/"Plugin support">).

=head2 new(%arguments)

Reads the arguments and the policy, and stops the shell if one of them is wrong.

=head2 pre_get($distribution)

Fetches the file and verifies it.

=head2 post_get($distribution)

Checks that what was unpacked is what was verified.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
