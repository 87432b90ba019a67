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
//  1. renameMu: one rename of a directory at a time, so that the check for a
//     cycle holds (rename.go)
//  2. node.commitMu, node.layoutMu, node.mu: one commit at a time, the content,
//     the open file's buffer and size (node.go)
//  3. meta.Update: one transaction; its function takes no lock but nodes.mu and versionMu
//  4. node.windows.mu: remembered maps (mapwindow.go); lent.mu: customers' keys
//     lent to mounts (lent.go); both leaves
//  5. nodes.mu: the table of open inodes (nodes.go)
//  6. versionMu: the numbers of versions (version.go); a leaf
//  7. watch.mu: the set of pending changes (watch.go)
//
// Changes are delivered from a goroutine that holds none of them.
package engine
