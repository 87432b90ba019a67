// Package engine is the store: it joins metadata, data and keys into one tree
// of files that are objects, and is what both doors call.
//
// # Durability
//
// A change is one transaction of the metadata store, and the order of those is
// the history. Data that a transaction points to was appended before it, and
// data.Sync runs before meta.Sync (commit.go; the metadata driver calls
// beforeDurable as a last guard). Sync and everything that says durable returns
// after both. A sync of few new bytes of an open file is one record beside the
// inode, which the file's next commit maps (logged.go). What is not synced
// explicitly is within FlushInterval.
//
// # Locks, in the order in which they are taken
//
//  1. lifecycleMu: one run of lifecycle rules at a time; relieveMu: one writer at a
//     time frees memory, with commits of any file (flush.go); neither is taken beside
//     the other
//  2. renameMu: one rename of a directory at a time, so that the check for a
//     cycle holds (rename.go)
//  3. File.mu, of one file alone
//  4. node.commitMu, node.layoutMu, node.mu: one commit at a time, the content,
//     the open file's buffer and size (node.go)
//  5. inodeMu: the numbers of inodes, held for the transaction that reserves some
//  6. meta.Update: one transaction; its function takes none of the above
//  7. keepers.mu, held while the doors are asked whether an inode stays, which take a
//     lock of their own for that (keep.go)
//  8. watch.Hub.mu: the set of pending changes
//  9. losses.mu, held while the doors are told that a file lost what was written to it,
//     which take a lock of their own for that (lost.go)
//  10. leaves, for a look at a table in memory: nodes.mu (nodes.go), versionMu
//     (version.go), cache.mu, fresh.mu, busy.mu (gc.go), node.windows.mu (mapwindow.go),
//     finishing.mu, renames.mu (renamekey.go), those of keyring
//
// Changes are delivered from a goroutine that holds none of them.
package engine
