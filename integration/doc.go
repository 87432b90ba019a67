// Package integration tests coffer from outside: every test builds a store in
// a directory of its own, runs the program as people run it, goes in through
// its doors (the mount, S3 over TLS, the command line) and looks at what the
// kernel, real S3 clients and the files on disk say. Nothing of the program is
// imported but what its status prints.
//
// # What the tests leave behind
//
// Nothing: when a test ends its House ends the daemons by pid, takes down the
// mounts, and fails the test if a mount, a process or an open port remained, or
// if a daemon's log has a panic or a data race in it.
//
// # Side by side
//
// Tests that spend their time in other programs (aws-cli, restic, a daemon that is
// killed and started) are parallel: each has a house of its own, with the store, the
// daemon, the mounts and HOME in it, and ports that the system chooses. All others run
// before them, one at a time. A test stays among those if it opens files of a mount
// without O_CLOEXEC, as posixtest does, since whatever program is started meanwhile
// would keep the mount busy; if it unmounts by itself, which does not try again; or if
// something has to happen soon after something else, counts or fills.
//
// # How long they take
//
// A few minutes on two cores. COFFER_LONG=1 makes the crash test kill more
// often and the soak test as large as the promises are (1,000,000 files, 10 GiB).
// COFFER_SEED=n repeats a randomised test; every such test prints its seed.
// Tests of the mount need /dev/fuse and skip, saying so, where there is none;
// with COFFER_REQUIRE=1 (make test) what would skip fails.
package integration
