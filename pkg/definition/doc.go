// Package definition is what people do with workflows other than run them: list and show
// them, write them as YAML and read that back, compare versions, keep a draft beside the
// live version, judge it and publish it, and find what depends on a column. The command
// line and the API call the same Service.
//
// # A draft
//
// workflow_definition.draft holds a document of the shape of a version's, without id,
// tenant_id and status, and two keys of its own: base, the version that it was made from,
// and by, who made it. A key that it doesn't have stays as it is live. It is no part of a
// version and is never run.
//
// Activating is one transaction and one version: parts whose ids the draft keeps keep
// their rows. It is refused with workflow.ErrConflict if the live workflow has changed
// since base in anything but its status; and it is refused, as any activation is, if the
// worker would find the workflow broken. Warnings don't block.
//
// A part that was written without an id gets the id of the live part that it stands for
// when the draft is put: one that is equal, else the first of the same kind that is left.
// So a file that people keep need not know any ids.
//
// # Tests
//
// Saved tests stand in the settings, under tests, and in a file in the document itself. So
// they are part of each version, and no table has to know of them; who runs a version drops
// them. Activating runs them, by package trial, which can't send.
//
// # Files
//
// Apply makes the database what files say, by a plan that is made first and shown. What the
// plan was made of is held to when it is carried out: who has changed a workflow meanwhile
// gets ErrConflict, and nothing of theirs is lost. A draft that lies beside the live version
// stays there, and then has another base than what is live.
//
// Parts of a file without ids keep those of the live parts that they stand for, and a plain
// secret that is the stored one is taken for it: so a second time there is nothing to do.
//
// A stored template is a document of its own and no part of a workflow's, since several
// workflows may render it.
//
// # YAML
//
// 2026-11-25: documents are written here and not by the library. What people read should
// have names first and ids last, texts as blocks, and no keys that say nothing; and the
// text must come back as the very same JSON, with numbers of all digits. Reading takes
// the library's parser for the grammar, and from there the tree that JSON gives too:
// scalars by their text, no anchors, no tags, unknown keys refused where they stand.
package definition
