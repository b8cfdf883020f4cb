package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gameserverd/internal/cli"
)

// newMan is for whoever makes a package; what it prints is generated from the
// commands, so that the two cannot differ.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man",
		Short:   "Print the manual page",
		Hidden:  true,
		Example: `  gameserverd man | man -l -`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := os.Stdout.Write(manual(cmd.Root(), readBuild().Version))
			return cli.Failed(err)
		},
	}
}

// manual is the page gameserverd(1), in troff.
func manual(root *cobra.Command, version string) []byte {
	var b bytes.Buffer
	name := root.Name()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\"\n", strings.ToUpper(name), name, escape(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", name, escape(root.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I command\n[arguments] [flags]\n", name)
	b.WriteString(".SH DESCRIPTION\n")
	manText(&b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	manCommands(&b, root)
	b.WriteString(".SH ENVIRONMENT\n")
	manText(&b, "A setting's environment form, GAMESERVERD_ and its key in capitals with _ for the dots\n"+
		"(GAMESERVERD_LISTEN_TCP), is stronger than the file.")
	b.WriteString(".SH FILES\n")
	for _, f := range []struct{ path, what string }{
		{"/etc/gameserverd/gameserverd.yaml", "The settings of the service; gameserverd check says what is wrong with them."},
		{"/etc/gameserverd/jwt.secret", "Signs the players' tokens. Whoever can read it can be any player."},
		{"/etc/default/gameserverd", "The environment of the service."},
		{"/var/lib/gameserverd", "All that the service writes, and ctl.sock for gameserverd ctl."},
		{"/usr/share/doc/gameserverd", "operations.md is for whoever runs the service; examples/gameserverd.yaml has every setting."},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", escape(f.path), escape(f.what))
	}
	b.WriteString(".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)\n")
	return b.Bytes()
}

// manCommands writes the commands below cmd that are not hidden.
func manCommands(b *bytes.Buffer, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		fmt.Fprintf(b, ".SS %s\n", escape(c.UseLine()))
		if c.Long != "" {
			manText(b, c.Long)
		} else {
			manText(b, c.Short+".")
		}
		manFlags(b, c.NonInheritedFlags())
		if c.Example != "" {
			b.WriteString(".PP\nExamples:\n")
			manText(b, c.Example)
		}
		manCommands(b, c)
	}
}

func manFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			value = " \\fI" + escape(value) + "\\fR"
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR%s\n%s", escape("--"+f.Name), value, escape(usage))
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "0s" && d != "[]" {
			fmt.Fprintf(b, " (default %s)", escape(d))
		}
		b.WriteString("\n")
	})
}

// manText writes a help text: lines that begin with a space keep their form, the
// others are paragraphs.
func manText(w io.Writer, text string) {
	asIs := false
	keep := func(on bool) {
		if on != asIs {
			fmt.Fprintln(w, map[bool]string{true: ".PP\n.nf", false: ".fi\n.PP"}[on])
			asIs = on
		}
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if line == "" {
			keep(false)
			fmt.Fprintln(w, ".PP")
			continue
		}
		keep(line[0] == ' ' || line[0] == '\t')
		fmt.Fprintln(w, escape(line))
	}
	keep(false)
}

// escape makes a line of text one that troff takes for text.
func escape(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "\\(ga", "'", `\(aq`, `"`, `\(dq`, "^", `\(ha`, "~", `\(ti`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
