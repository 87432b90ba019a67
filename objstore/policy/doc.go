// Package policy evaluates the policies of S3, which are written in IAM's JSON
// language ("IAM JSON policy elements reference" of the IAM user guide). It is
// pure: it knows no store, no user and no clock. Who asks, for what, and what
// the request says, comes with each Request.
//
// A policy is compiled once, by Parse, and evaluated often, by any number of
// goroutines at once. A document is bounded before it is read (MaxDocument,
// maxDepth, maxStatements), read strictly (no unknown element, nothing twice,
// no value that an operator could not compare), and refused as a whole.
//
// What is taken: Version, Id, Statement (one or a list) with Sid, Effect,
// Principal or NotPrincipal, Action or NotAction, Resource or NotResource,
// Condition with every operator, their IfExists and their set forms; wildcards
// * and ? in actions, resources and Like operators; policy variables with
// defaults (${aws:username, 'nobody'}) in resources and in String and Arn
// conditions of documents of version 2012-10-17.
//
// The answer of one policy is a Decision. How those of several policies are put
// together is the caller's: an explicit Deny wins over any Allow, and where
// there is neither, access is denied.
//
// Where the language leaves something open, a statement errs to the side of
// less access: a variable that the request has no value for matches nothing,
// and makes an Allow that asks for inequality with it void.
package policy
