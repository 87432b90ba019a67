package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
	"github.com/cofferfs/coffer/objstore"
)

// maxPolicyFile bounds what is read of a policy's file, in bytes.
const maxPolicyFile = 64 << 10

const policyHelp = `POLICY is one of

   readonly    list and get
   readwrite   everything
   backup      list, get, and put new objects: never delete or overwrite

or a file with a policy in IAM's JSON language. --bucket restricts those that
have a name to a bucket.`

var bucketFlag = &cli.StringSliceFlag{
	Name: "bucket", Usage: "`BUCKET` that a policy with a name is about; can be given several times", EnvVars: []string{"COFFER_BUCKET"}, DefaultText: "all",
}

func userPolicyCommand() *cli.Command {
	return &cli.Command{
		Name:      "policy",
		Usage:     "manage what a user may do",
		UsageText: "coffer user policy set|show|remove [--store DIR] NAME [POLICY...]",
		Description: `A user may do what one of their policies allows and none denies.
` + policyHelp,
		Action: subcommandHelp("user policy"),
		Subcommands: []*cli.Command{
			{
				Name: "set", Usage: "replace a user's policies", ArgsUsage: "NAME POLICY...", Description: policyHelp,
				Flags: keyFlags(bucketFlag),
				Action: func(c *cli.Context) error {
					if c.NArg() < 2 {
						return usagef("set needs the name of a user and a policy")
					}
					list, err := policies(c.Args().Slice()[1:], c.StringSlice("bucket"))
					if err != nil {
						return err
					}
					r, err := runUser(c, mount.UserRequest{Action: mount.UserPolicySet, Policies: list}, c.NArg())
					if err == nil {
						fmt.Fprintf(c.App.Writer, "policies of user %s: %s\n", c.Args().First(), policyNames(r.Users[0].Policies))
					}
					return err
				},
			},
			{
				Name: "show", Usage: "print a user's policies", ArgsUsage: "NAME", Flags: keyFlags(jsonFlag),
				Description: "With --json the answer is one array of objects: name, buckets, document.",
				Action: func(c *cli.Context) error {
					r, err := runUser(c, mount.UserRequest{Action: mount.UserShow}, 1)
					if err != nil {
						return err
					}
					list := r.Users[0].Policies
					if c.Bool("json") {
						if list == nil {
							list = []objstore.UserPolicy{}
						}
						return printJSON(c.App.Writer, list)
					}
					for _, p := range list {
						fmt.Fprintf(c.App.Writer, "%s\n%s\n", policyNames([]objstore.UserPolicy{p}), strings.TrimSpace(p.Document))
					}
					return nil
				},
			},
			{
				Name: "remove", Usage: "remove a user's policies: they may then do what those of buckets allow them", ArgsUsage: "NAME", Flags: keyFlags(),
				Action: func(c *cli.Context) error {
					_, err := runUser(c, mount.UserRequest{Action: mount.UserPolicyRemove}, 1)
					if err == nil {
						fmt.Fprintf(c.App.Writer, "user %s has no policies\n", c.Args().First())
					}
					return err
				},
			},
		},
	}
}

// policies reads what --policy or arguments say.
func policies(list, buckets []string) ([]objstore.UserPolicy, error) {
	out := make([]objstore.UserPolicy, 0, len(list))
	named := false
	for _, p := range list {
		switch p {
		case "readonly", "readwrite", "backup":
			named = true
			out = append(out, objstore.UserPolicy{Name: p, Buckets: buckets})
			continue
		}
		text, err := readPolicy(p)
		if err != nil {
			return nil, err
		}
		out = append(out, objstore.UserPolicy{Name: strings.TrimSuffix(filepath.Base(p), ".json"), Document: text})
	}
	if len(buckets) > 0 && !named {
		return nil, usagef("--bucket goes with readonly, readwrite or backup; a policy of your own says itself what it is about")
	}
	return out, nil
}

func readPolicy(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", usagef("policy %q is neither readonly, readwrite or backup nor a file", path)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyFile+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxPolicyFile:
		return "", fmt.Errorf("policy %q is over 64 KiB", path)
	case len(text) == 0:
		return "", fmt.Errorf("policy %q is empty", path)
	}
	return string(text), nil
}

// policyNames are the names of policies, each with its buckets.
func policyNames(list []objstore.UserPolicy) string {
	names := make([]string, len(list))
	for i, p := range list {
		if names[i] = p.Name; len(p.Buckets) > 0 {
			names[i] += "(" + strings.Join(p.Buckets, ",") + ")"
		}
	}
	return strings.Join(names, " ")
}
