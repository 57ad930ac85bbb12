#!/usr/bin/env bash
# What somebody would type to get the same pull request without the product. Each step's end goes to standard output, as
# seconds since 1970. Expected in the environment: CLAUDE, MODEL, DENIED, TASK, REPOSITORY (with a token), PULLS, TOKEN, BRANCH,
# WORK, and what the agent's own environment is made of.
set -eu
done_with() { printf '%s %s\n' "$1" "$EPOCHREALTIME"; }

done_with start
git clone --quiet --depth 1 "$REPOSITORY" "$WORK"
cd "$WORK"
git switch --quiet --create "$BRANCH"
done_with clone

"$CLAUDE" -p --output-format stream-json --verbose --model "$MODEL" --max-turns 150 --permission-mode bypassPermissions \
  --setting-sources= --strict-mcp-config --disallowedTools "$DENIED" -- "$TASK" < /dev/null > ../agent.jsonl
done_with agent

git add --all
git -c user.name=Somebody -c user.email=somebody@localhost commit --quiet --message "$BRANCH"
done_with commit

git push --quiet origin "$BRANCH"
curl --silent --show-error --fail --output ../pull.json --header "authorization: Bearer $TOKEN" --header "content-type: application/json" \
  --data "{\"title\":\"By hand\",\"head\":\"$BRANCH\",\"base\":\"main\",\"body\":\"By hand.\"}" "$PULLS"
done_with publish
