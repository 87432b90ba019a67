package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
	"github.com/cofferfs/coffer/objstore"
)

func bucketCommand() *cli.Command {
	return &cli.Command{
		Name:      "bucket",
		Usage:     "show and change settings of a bucket",
		UsageText: "coffer bucket etag [--store DIR] BUCKET [opaque|md5]\ncoffer bucket lifecycle [--store DIR] [--json]",
		Description: `Shows and changes what can be chosen for each bucket of a store, through its
running daemon. Buckets themselves are made by mkdir in a mount and by S3.
coffer bucket etag --help tells about etag, coffer bucket lifecycle --help about
lifecycle.`,
		Subcommands: []*cli.Command{bucketETagCommand(), bucketLifecycleCommand()},
		Action:      subcommandHelp("bucket"),
	}
}

func bucketETagCommand() *cli.Command {
	return &cli.Command{
		Name:      "etag",
		Usage:     "show or choose what the ETags of a bucket's new objects are",
		ArgsUsage: "BUCKET [opaque|md5]",
		Description: `With BUCKET alone, prints which it is. md5, the default, is what AWS makes of an
object's bytes. MD5 takes about half of the processor time of a large upload;
with opaque it is computed only for a client that sends Content-MD5, which is
verified as ever, and ETags have a form that no client takes for an MD5, as
those of files written through the mount have. Checksums (CRC64NVME, SHA256 and
others) are the same with both.

The choice is durable and counts at once, for objects and multipart uploads that
are begun from then on; those that are there keep their ETags. Clients that
insist on AWS's ETags, of multipart uploads for example, want md5 or have a
switch (rclone: use_multipart_etag = false).

   coffer bucket etag photos opaque`,
		Flags: []cli.Flag{storeFlag},
		Action: func(c *cli.Context) error {
			bucket, choose := c.Args().Get(0), c.Args().Get(1)
			switch {
			case bucket == "":
				return usagef("bucket etag needs a bucket")
			case c.NArg() > 2:
				return usagef("bucket etag takes a bucket and opaque or md5, but was given %d arguments", c.NArg())
			case c.NArg() == 2:
				if _, err := objstore.ParseETagForm(choose); err != nil {
					return usagef("ETags are opaque or md5, not %q", choose)
				}
			}
			form, err := mount.RunBucketETag(c.Context, config(c), bucket, choose)
			switch {
			case err != nil:
				return err
			case choose == "":
				fmt.Fprintln(c.App.Writer, form)
			default:
				fmt.Fprintf(c.App.Writer, "new objects in bucket %s get %s ETags\n", bucket, form)
			}
			return nil
		},
	}
}

func bucketLifecycleCommand() *cli.Command {
	return &cli.Command{
		Name:  "lifecycle",
		Usage: "carry out the lifecycle rules of all buckets now",
		Description: `Lifecycle rules are set over S3 (aws s3api put-bucket-lifecycle-configuration).
The daemon carries them out by itself, once a day from midnight UTC on: what
expires is removed, in a versioned bucket it becomes a noncurrent version, and
uploads that were never completed are aborted.

This does so at once, with the rules that were set today, too, and prints what
came of it when it is done. Objects go for good: there is no question first.

With --json the answer is one object of numbers: buckets (that have rules), seen
(objects and versions that were looked at), expired, noncurrent, delete_markers,
aborted_uploads, locked (which Object Lock keeps) and failed.

   coffer bucket lifecycle`,
		Flags: []cli.Flag{storeFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("bucket lifecycle takes no arguments: it is for all buckets that have rules")
			}
			r, err := mount.RunLifecycle(c.Context, config(c))
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, r)
			}
			fmt.Fprintf(c.App.Writer, "%s with rules: %d expired, %d noncurrent versions and %d delete markers removed, %d uploads aborted, %d locked, %d failed\n",
				count(r.Buckets, "bucket"), r.Expired, r.Noncurrent, r.DeleteMarkers, r.AbortedUploads, r.Locked, r.Failed)
			return nil
		},
	}
}
