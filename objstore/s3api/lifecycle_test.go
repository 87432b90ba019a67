package s3api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func lifecycleXML(rules ...string) string {
	return `<LifecycleConfiguration xmlns="` + namespace + `"><Rule>` + strings.Join(rules, "</Rule><Rule>") + "</Rule></LifecycleConfiguration>"
}

// ruleXML is an enabled rule with an id.
func ruleXML(id, rest string) string { return "<ID>" + id + "</ID><Status>Enabled</Status>" + rest }

func TestLifecycleConfigurationIsKept(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	none := func(what string) {
		t.Helper()
		d.do("GET", "/bucket?lifecycle", "").want(t, what, 404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", "BucketName", "bucket")
	}
	none("none")
	d.do("DELETE", "/bucket?lifecycle", "").ok(t, "delete none", 204)
	whole := ruleXML("wholebucket", "<Filter><Prefix></Prefix></Filter><Expiration><Days>7</Days></Expiration>")
	for _, rules := range [][]string{
		{whole},
		{ruleXML("a", "<Filter></Filter><Expiration><Date>2023-01-01T00:00:00Z</Date></Expiration>"), ruleXML("b", "<Prefix> old</Prefix><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")},
		{ruleXML("sizes", "<Filter><ObjectSizeGreaterThan>20</ObjectSizeGreaterThan></Filter><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>100</NewerNoncurrentVersions></NoncurrentVersionExpiration>")},
		{ruleXML("and", "<Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value></Value></Tag><ObjectSizeLessThan>10</ObjectSizeLessThan></And></Filter><Expiration><Days>1</Days></Expiration>")},
		{ruleXML("move", "<Filter></Filter><Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition><Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition><Expiration><Days>31</Days></Expiration>")},
		{ruleXML("uploads", "<Filter></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), "<ID>off</ID><Status>Disabled</Status><Prefix>x</Prefix><Expiration><Days>1</Days></Expiration>"},
	} {
		a := d.do("PUT", "/bucket?lifecycle", lifecycleXML(rules...))
		if a.status != 200 || a.header.Get(minimumSizeHeader) != minimumSizeDefault || a.body != "" {
			t.Errorf("put: %v %v", a, a.header)
		}
		d.kept("/bucket?lifecycle", "LifecycleConfiguration", "<Rule>"+strings.Join(rules, "</Rule><Rule>")+"</Rule>")
	}
	for _, c := range [][2]string{{"varies_by_storage_class", "varies_by_storage_class"}, {"", minimumSizeDefault}, {minimumSizeDefault, minimumSizeDefault}} {
		var headers []string
		if c[0] != "" {
			headers = []string{minimumSizeHeader, c[0]}
		}
		if a := d.do("PUT", "/bucket?lifecycle", lifecycleXML(whole), headers...); a.status != 200 || a.header.Get(minimumSizeHeader) != c[1] {
			t.Errorf("put %v: %v %v", c, a, a.header)
		}
		if a := d.do("GET", "/bucket?lifecycle", ""); a.header.Get(minimumSizeHeader) != c[1] {
			t.Errorf("get %v: %v", c, a.header)
		}
		d.kept("/bucket?lifecycle", "LifecycleConfiguration", "<Rule>"+whole+"</Rule>")
	}
	d.do("PUT", "/bucket?lifecycle", lifecycleXML(whole), minimumSizeHeader, "value").want(t, "minimum", 400, "InvalidRequest", "Invalid TransitionDefaultMinimumObjectSize found: value")
	d.do("DELETE", "/bucket?lifecycle", "").ok(t, "delete", 204)
	none("deleted")

	d.do("PUT", "/bucket?lifecycle", lifecycleXML("<Status>Enabled</Status><Prefix>a</Prefix><Expiration><Days>1</Days></Expiration>", "<ID></ID><Status>Enabled</Status><Prefix>b</Prefix><Expiration><Days>1</Days></Expiration>")).ok(t, "no ids", 200)
	a := d.do("GET", "/bucket?lifecycle", "")
	first, rest, _ := strings.Cut(a.body, "</Rule>")
	if one, two := element(first, "ID"), element(rest, "ID"); len(one) < 16 || len(two) < 16 || one == two {
		t.Errorf("ids that were made: %v", a)
	}
}

func TestLifecycleConfigurationsThatCannotBe(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const days = "<Expiration><Days>7</Days></Expiration>"
	const all = "<Filter></Filter>"
	const tag = "<Tag><Key>k</Key><Value>v</Value></Tag>"
	var many []string
	for i := range maxLifecycleRules + 1 {
		many = append(many, ruleXML(fmt.Sprint(i), "<Prefix></Prefix>"+days))
	}
	for what, c := range map[string]struct{ doc, code, message string }{
		"no filter":             {lifecycleXML(ruleXML("i", days)), "MalformedXML", malformed},
		"no id, no filter":      {lifecycleXML("<Status>Enabled</Status>" + days), "MalformedXML", malformed},
		"filter and prefix":     {lifecycleXML(ruleXML("i", all+"<Prefix></Prefix>"+days)), "MalformedXML", malformed},
		"noncurrent of nothing": {lifecycleXML(ruleXML("i", all+days+"<NoncurrentVersionExpiration></NoncurrentVersionExpiration>")), "MalformedXML", malformed},
		"and plus prefix":       {lifecycleXML(ruleXML("i", "<Filter><And><Prefix>test</Prefix></And><Prefix></Prefix></Filter>"+days)), "MalformedXML", malformed},
		"size plus prefix":      {lifecycleXML(ruleXML("i", "<Filter><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan><Prefix></Prefix></Filter>"+days)), "MalformedXML", malformed},
		"and of one":            {lifecycleXML(ruleXML("i", "<Filter><And>"+tag+"</And></Filter>"+days)), "MalformedXML", malformed},
		"no midnight":           {lifecycleXML(ruleXML("i", all+"<Expiration><Date>2023-01-01T02:02:00Z</Date></Expiration>")), "InvalidArgument", "'Date' must be at midnight GMT"},
		"no date":               {lifecycleXML(ruleXML("i", all+"<Expiration><Date>soon</Date></Expiration>")), "MalformedXML", malformed},
		"one tag twice":         {lifecycleXML(ruleXML("i", "<Filter><And>"+tag+tag+"</And></Filter>"+days)), "InvalidRequest", "Duplicate Tag Keys are not allowed."},
		"marker and days":       {lifecycleXML(ruleXML("i", all+"<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")), "MalformedXML", malformed},
		"days and date":         {lifecycleXML(ruleXML("i", all+"<Expiration><Days>1</Days><Date>2023-01-01</Date></Expiration>")), "MalformedXML", malformed},
		"empty expiration":      {lifecycleXML(ruleXML("i", all+"<Expiration></Expiration>")), "MalformedXML", malformed},
		"no action":             {lifecycleXML(ruleXML("i", all)), "InvalidRequest", "At least one action needs to be specified in a rule."},
		"no days":               {lifecycleXML(ruleXML("i", all+"<Expiration><Days>0</Days></Expiration>")), "InvalidArgument", "'Days' for Expiration action must be a positive integer"},
		"no number":             {lifecycleXML(ruleXML("i", all+"<Expiration><Days>x</Days></Expiration>")), "MalformedXML", malformed},
		"status":                {lifecycleXML("<ID>i</ID><Status>enabled</Status>" + all + days), "MalformedXML", malformed},
		"long id":               {lifecycleXML(ruleXML(strings.Repeat("a", 256), all+days)), "InvalidArgument", "ID length should not exceed allowed limit of 255"},
		"one id twice":          {lifecycleXML(ruleXML("i", all+days), ruleXML("i", all+days)), "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule"},
		"uploads by tag":        {lifecycleXML(ruleXML("i", "<Filter>"+tag+"</Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>")), "InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags."},
		"markers by tag":        {lifecycleXML(ruleXML("i", "<Filter>"+tag+"</Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")), "InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags."},
		"keep too many":         {lifecycleXML(ruleXML("i", all+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>")), "InvalidArgument", ""},
		"class":                 {lifecycleXML(ruleXML("i", all+"<Transition><Days>1</Days><StorageClass>STANDARD</StorageClass></Transition>")), "MalformedXML", malformed},
		"too early":             {lifecycleXML(ruleXML("i", all+"<Transition><Days>29</Days><StorageClass>STANDARD_IA</StorageClass></Transition>")), "InvalidArgument", ""},
		"gone before it moves":  {lifecycleXML(ruleXML("i", all+days+"<Transition><Days>7</Days><StorageClass>GLACIER</StorageClass></Transition>")), "InvalidArgument", ""},
		"no rules":              {"<LifecycleConfiguration></LifecycleConfiguration>", "MalformedXML", malformed},
		"too many rules":        {lifecycleXML(many...), "MalformedXML", malformed},
		"too long":              {strings.Repeat(" ", maxLifecycleBytes+1), "MaxMessageLengthExceeded", ""},
	} {
		a := d.do("PUT", "/bucket?lifecycle", c.doc)
		switch what {
		case "no midnight":
			a.want(t, what, 400, c.code, c.message, "ArgumentName", "Date", "ArgumentValue", "2023-01-01T02:02:00Z")
		default:
			if a.status != 400 || a.fields["Code"] != c.code || c.message != "" && a.fields["Message"] != c.message {
				t.Errorf("%s: %v", what, a)
			}
		}
	}
	d.do("GET", "/bucket?lifecycle", "").want(t, "refused", 404, "NoSuchLifecycleConfiguration", "")
	d.do("PUT", "/bucket?lifecycle", lifecycleXML(many[1:]...)).ok(t, "as many as can be", 200)
}

// expiry takes x-amz-expiration apart.
func (a reply) expiry(t *testing.T) (rule string, at time.Time) {
	t.Helper()
	h := a.header.Get("x-amz-expiration")
	if h == "" {
		return "", at
	}
	date, rule, ok := strings.Cut(strings.TrimPrefix(h, `expiry-date="`), `", rule-id="`)
	at, err := time.Parse(http.TimeFormat, date)
	if !ok || err != nil || !strings.HasSuffix(rule, `"`) {
		t.Errorf("expiration %q", h)
	}
	return strings.TrimSuffix(rule, `"`), at
}

func TestExpirationIsTold(t *testing.T) {
	now := time.Now().UTC()
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "before", "test")
	days := func(filter string) string {
		return "<Filter>" + filter + "</Filter><Expiration><Days>7</Days></Expiration>"
	}
	check := func(what, target, want string, headers ...string) {
		t.Helper()
		a := d.do("PUT", target, "test", headers...)
		a.ok(t, what, 200)
		for _, m := range []string{"PUT", "GET", "HEAD"} {
			if m != "PUT" {
				a = d.do(m, target, "")
			}
			rule, at := a.expiry(t)
			if rule != want {
				t.Errorf("%s %s: rule %q, want %q", m, what, rule, want)
			}
			if rule != "" && (at.Hour() != 0 || at.Minute() != 0 || at.Before(now.AddDate(0, 0, 7).Truncate(time.Second)) || at.After(now.AddDate(0, 0, 8).Add(time.Hour))) {
				t.Errorf("%s %s: at %s", m, what, at)
			}
		}
	}
	check("no rules", "/bucket/k", "")
	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("rule_one", days("<Prefix>testobject</Prefix>")), ruleXML("rule_two", days("<Prefix>test</Prefix>")), ruleXML("rule three/", days("<Prefix>t</Prefix>")))).ok(t, "put", 200)
	check("all match", "/bucket/testobject-expiry", "rule_one")
	check("two match", "/bucket/test-one-rule", "rule_two")
	check("one matches", "/bucket/t", "rule+three%2F")
	check("none matches", "/bucket/no-rules", "")

	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("all", days("")))).ok(t, "put", 200)
	if rule, _ := d.do("HEAD", "/bucket/before", "").expiry(t); rule != "all" {
		t.Errorf("an object from before: %q", rule)
	}
	if rule, _ := d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/before").expiry(t); rule != "all" {
		t.Errorf("a copy: %q", rule)
	}
	id, part := d.begin("/bucket/multi")
	etag := d.do("PUT", part(1), "x").header.Get("Etag")
	if rule, _ := d.do("POST", "/bucket/multi?uploadId="+id, completeXML(partXML(1, etag))).expiry(t); rule != "all" {
		t.Errorf("an upload: %q", rule)
	}
	if rule, _ := d.do("HEAD", "/bucket/before?versionId=null", "").expiry(t); rule != "" {
		t.Errorf("a version: %q", rule)
	}

	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("large", days("<ObjectSizeGreaterThan>20</ObjectSizeGreaterThan>")), ruleXML("small", days("<ObjectSizeLessThan>4</ObjectSizeLessThan>")))).ok(t, "put", 200)
	check("size", "/bucket/k", "")
	for size, want := range map[int]string{22: "large", 21: "large", 20: "", 4: "", 3: "small"} {
		if rule, _ := d.do("PUT", "/bucket/k", strings.Repeat("a", size)).expiry(t); rule != want {
			t.Errorf("%d bytes: %q", size, rule)
		}
	}

	tag := func(k, v string) string { return "<Tag><Key>" + k + "</Key><Value>" + v + "</Value></Tag>" }
	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("one", days(tag("life", "positive"))), ruleXML("two", days("<And>"+tag("life", "positive")+tag("lifetwo", "positive-two")+"</And>")))).ok(t, "put", 200)
	check("tags", "/bucket/both", "one", "x-amz-tagging", "life=positive&lifetwo=positivetwo")
	check("tag", "/bucket/k1", "one", "x-amz-tagging", "life=positive")
	check("other tag", "/bucket/k2", "", "x-amz-tagging", "life2=positive")
	check("no tags", "/bucket/k3", "")

	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("marker", "<Filter></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), strings.Replace(ruleXML("off", days("")), "Enabled", "Disabled", 1))).ok(t, "put", 200)
	check("markers alone", "/bucket/k", "")
	d.do("DELETE", "/bucket?lifecycle", "").ok(t, "delete", 204)
	check("no rules any more", "/bucket/k", "")
}

// Of a version nobody says when it goes, though it be the current one.
func TestExpirationOfVersionsIsNotTold(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("rule2", "<Filter></Filter><Expiration><Days>3</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"))).ok(t, "put", 200)
	var versions []string
	for range 2 {
		a := d.do("PUT", "/bucket/k", "test")
		if rule, _ := a.expiry(t); rule != "rule2" {
			t.Errorf("put: %q", rule)
		}
		versions = append(versions, a.header.Get("x-amz-version-id"))
	}
	for _, m := range []string{"HEAD", "GET"} {
		if rule, _ := d.do(m, "/bucket/k", "").expiry(t); rule != "rule2" {
			t.Errorf("%s: %q", m, rule)
		}
		for i, v := range versions {
			if rule, _ := d.do(m, "/bucket/k?versionId="+v, "").expiry(t); rule != "" {
				t.Errorf("%s of version %d: %q", m, i, rule)
			}
		}
	}
}

func TestAbortOfUploadsIsTold(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?lifecycle", lifecycleXML(ruleXML("one two", "<Filter><Prefix>logs/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"))).ok(t, "put", 200)
	for key, want := range map[string]string{"logs/x": "one+two", "x": ""} {
		begun := d.do("POST", "/bucket/"+key+"?uploads", "")
		parts := d.do("GET", "/bucket/"+key+"?uploadId="+element(begun.body, "UploadId"), "")
		for _, a := range []reply{begun, parts} {
			if got := a.header.Get("x-amz-abort-rule-id"); a.status != 200 || got != want {
				t.Errorf("%s: %v rule %q", key, a, got)
			}
			at, err := http.ParseTime(a.header.Get("x-amz-abort-date"))
			if (want != "") != (err == nil) || err == nil && (at.Hour() != 0 || time.Until(at) < 47*time.Hour || time.Until(at) > 73*time.Hour) {
				t.Errorf("%s: at %s, %v", key, at, err)
			}
		}
	}
}
