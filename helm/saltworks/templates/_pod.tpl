{{/* What all pods share: who they are, what they may do, what they know. Meets Pod Security `restricted`. */}}

{{- define "saltworks.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "saltworks.security" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Fields of a pod's spec that do not depend on its part. Service links would inject variables under our prefix. */}}
{{- define "saltworks.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
securityContext:
  {{- include "saltworks.podSecurity" . | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "saltworks.imageFields" -}}
image: {{ include "saltworks.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* Environment of a container that runs the job or a part of it. */}}
{{- define "saltworks.env" -}}
- {name: HOME, value: /tmp}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: HF_HOME, value: {{ .Values.storage.modelCache.mountPath | quote }}}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ toJson $value }}}
{{- end }}
{{- range .Values.secrets }}
- name: {{ .env }}
  valueFrom:
    secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}, optional: true}
{{- end }}
{{- end -}}

{{- define "saltworks.envFrom" -}}
- configMapRef:
    name: {{ include "saltworks.settings.name" . }}
{{- end -}}

{{/* Volumes that every container of the job sees; (dict "root" $ "tmp" "10Gi" "resources" map). A cache of
     models without a size of its own gets what the pod's limit leaves beside /tmp. */}}
{{- define "saltworks.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .tmp | quote }}}
- name: models
{{- $left := subf (dig "limits" "ephemeral-storage" "100Gi" .resources | include "saltworks.quantity") (include "saltworks.quantity" .tmp) }}
{{- with .root.Values.storage.modelCache }}
{{- if .claim }}
  persistentVolumeClaim: {claimName: {{ .claim }}}
{{- else }}
{{- $mi := divf $left 1048576 | floor | int64 }}
  emptyDir: {sizeLimit: {{ .size | default (ternary (printf "%dGi" (div $mi 1024)) (printf "%dMi" $mi) (eq (mod $mi 1024) 0)) | quote }}}
{{- end }}
{{- end }}
{{- with include "saltworks.claim" .root }}
- name: data
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- with .root.Values.storage.weights.claim }}
- name: weights
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "saltworks.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: models, mountPath: {{ .Values.storage.modelCache.mountPath | quote }}}
{{- if include "saltworks.claim" . }}
- {name: data, mountPath: {{ .Values.storage.claim.mountPath | quote }}}
{{- end }}
{{- if .Values.storage.weights.claim }}
- {name: weights, mountPath: {{ .Values.storage.weights.mountPath | quote }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "saltworks.shm" -}}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ . | quote }}}
{{- end -}}

{{/* Annotations of a pod, its own over the release's: (dict "root" $ "own" map). */}}
{{- define "saltworks.podAnnotations" -}}
{{- with merge (deepCopy (.own | default dict)) .root.Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The word that a pod gets before it goes: the driver has no other. */}}
{{- define "saltworks.lifecycle" -}}
lifecycle:
  preStop:
    exec: {command: [python, -m, job, drain]}
{{- end -}}

{{/* Labels of spot nodes: GKE, EKS, Karpenter, AKS. */}}
{{- define "saltworks.spotNodes" -}}
cloud.google.com/gke-spot: "true"
eks.amazonaws.com/capacityType: SPOT
karpenter.sh/capacity-type: spot
kubernetes.azure.com/scalesetpriority: spot
{{- end -}}
