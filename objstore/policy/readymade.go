package policy

import (
	"encoding/json"
	"slices"
)

// readyMade are the policies that have a name, for a set of buckets.
var readyMade = map[string]func(buckets, objects []string) document{
	"readonly": func(buckets, objects []string) document {
		return document{[]rule{
			{Sid: "Find", Effect: "Allow", Action: []string{"s3:ListAllMyBuckets", "s3:GetBucketLocation"}, Resource: []string{"*"}},
			{Sid: "Read", Effect: "Allow", Action: []string{"s3:Get*", "s3:List*"}, Resource: append(buckets, objects...)},
		}}
	},
	"readwrite": func(buckets, objects []string) document {
		return document{[]rule{
			{Sid: "Find", Effect: "Allow", Action: []string{"s3:ListAllMyBuckets", "s3:GetBucketLocation"}, Resource: []string{"*"}},
			{Sid: "All", Effect: "Allow", Action: []string{"s3:*", RenamePrefix}, Resource: append(buckets, objects...)},
		}}
	},
	"backup": func(buckets, objects []string) document {
		return document{[]rule{
			{Sid: "Find", Effect: "Allow", Action: []string{"s3:ListAllMyBuckets", "s3:GetBucketLocation"}, Resource: []string{"*"}},
			{Sid: "Read", Effect: "Allow", Action: []string{"s3:Get*", "s3:List*"}, Resource: append(buckets, objects...)},
			{Sid: "WriteNew", Effect: "Allow", Action: []string{"s3:PutObject", "s3:PutObjectAcl", "s3:AbortMultipartUpload", "s3:RestoreObject"}, Resource: objects},
			{Sid: "KeepAll", Effect: "Deny", Action: []string{"s3:Delete*", "s3:BypassGovernanceRetention", OverwriteObject, RenamePrefix}, Resource: []string{"*"}},
		}}
	},
}

type document struct{ Statement []rule }

func (d document) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Version   string
		Statement []rule
	}{"2012-10-17", d.Statement})
}

type rule struct {
	Sid, Effect      string
	Action, Resource []string
}

// ReadyMade returns the document of a policy that has a name: readonly (list
// and get), readwrite (everything), backup (list, get, and put new objects,
// never delete or overwrite). It is about the buckets given, or about all.
func ReadyMade(name string, buckets ...string) (text []byte, ok bool) {
	build, ok := readyMade[name]
	if !ok {
		return nil, false
	}
	var roots, objects []string
	for _, b := range buckets {
		roots, objects = append(roots, "arn:aws:s3:::"+b), append(objects, "arn:aws:s3:::"+b+"/*")
	}
	if len(buckets) == 0 {
		roots, objects = []string{"arn:aws:s3:::*"}, []string{"arn:aws:s3:::*/*"}
	}
	text, err := json.MarshalIndent(build(roots, objects), "", "  ")
	if err != nil {
		panic("policy: ready-made policy: " + err.Error()) // strings marshal
	}
	return text, true
}

// ReadyMadeNames are the names that ReadyMade knows.
func ReadyMadeNames() []string {
	names := make([]string, 0, len(readyMade))
	for n := range readyMade {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
