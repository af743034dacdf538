#!/bin/sh
# Makes the namespace with the search attributes that the inbox filters by; run at every start.
# Takes TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TEMPORAL_RETENTION from the environment.
set -eu

patiently() {
    left=60
    until "$@"; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "gave up: $*" >&2
            exit 1
        fi
        sleep 2
    done
}

make_namespace() {
    temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
        temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" \
            --retention "$TEMPORAL_RETENTION"
}

# A namespace that was just made is not known everywhere at once.
make_attributes() {
    can_list ||
        temporal operator search-attribute create \
            --name HitlStatus --type Keyword --name HitlTags --type KeywordList
}

can_list() {
    temporal workflow count --query "HitlStatus = 'none' OR HitlTags = 'none'" >/dev/null 2>&1
}

patiently temporal operator cluster health
patiently make_namespace
patiently make_attributes
patiently can_list
echo "namespace $TEMPORAL_NAMESPACE is there, with its search attributes"
