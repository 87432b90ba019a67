package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of a command before its arguments, where the
// library wants them: people write `coffer mount DIR --store X` as well. What
// follows "--" stays an argument. A call for help becomes COMMAND --help, which
// knows the flags of commands below others too.
func flagsFirst(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	if isHelp(args[1]) {
		return helpFor(app, args[:1], args[2:])
	}
	cmd := app.Command(args[1])
	switch {
	case cmd == nil && len(args[1]) > 1 && args[1][0] == '-':
		return nil, usagef("there is no flag %s here: flags follow the command", args[1])
	case cmd == nil:
		return args, nil
	}
	first := 2 // behind the command, and the one below it
	for ; first < len(args) && subcommand(cmd, args[first]) != nil; first++ {
		cmd = subcommand(cmd, args[first])
	}
	if first < len(args) && len(cmd.Subcommands) > 0 && isHelp(args[first]) {
		return helpFor(app, args[:1], append(slices.Clone(args[1:first]), args[first+1:]...))
	}
	var flags, rest []string
	for i := first; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		if isHelp(a) {
			return append(slices.Clone(args[:first]), "--help"), nil
		}
		name, _, valued := strings.Cut(strings.TrimLeft(a, "-"), "=")
		known, single := flagOf(cmd, name)
		if !known {
			return nil, usagef("%s has no flag %s", strings.Join(args[1:first], " "), a)
		}
		flags = append(flags, a)
		if valued || single {
			continue
		}
		if i+1 == len(args) {
			return nil, usagef("flag %s needs a value", a)
		}
		i++
		flags = append(flags, args[i])
	}
	out := append(slices.Clone(args[:first]), flags...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out, nil
}

// isHelp reports whether a word asks for help: where a command is expected, or as a
// flag.
func isHelp(word string) bool {
	return slices.Contains([]string{"help", "h", "-h", "-help", "--help"}, word)
}

// helpFor makes the call for help with the command that words name.
func helpFor(app *cli.App, program, words []string) ([]string, error) {
	words = slices.DeleteFunc(slices.Clone(words), isHelp)
	commands := app.Commands
	for i, w := range words {
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(w) })
		if at < 0 {
			return nil, usagef("there is no command %q", strings.Join(words[:i+1], " "))
		}
		commands = commands[at].Subcommands
	}
	return append(append(slices.Clone(program), words...), "--help"), nil
}

// subcommand returns the command of that name below cmd, or nil.
func subcommand(cmd *cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(cmd.Subcommands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return cmd.Subcommands[i]
}

// flagOf reports whether cmd has a flag of that name, and whether that stands
// alone, without a value.
func flagOf(cmd *cli.Command, name string) (known, single bool) {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			_, single := f.(*cli.BoolFlag)
			return true, single
		}
	}
	return false, false
}
