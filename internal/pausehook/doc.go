// Package pausehook tests the hook that tells PAUSE's uploads to the log: the Perl module below
// deploy/perl/PAUSE-TLog. The hook writes a file for each event into a folder, the spool, and `pauselog agent`
// reads it there. The tests run the module's own tests, read what it writes as strictly as a reader of the
// spool must, and compare what it takes for an upload with [github.com/pauselog/pauselog/log/entry.IsUpload].
// There is nothing here to import.
package pausehook
