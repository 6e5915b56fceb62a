/*
 * lavinfilter: answers every RGB frame of a pipeline by a task of a bundle, in place.
 *
 * The model is loaded when the element starts (READY to PAUSED) and freed when it stops. Frames are
 * answered in the streaming thread, one after the other; the base class drops late ones where the
 * sink asks for it (QoS).
 */
#include <gst/gst.h>
#include <gst/video/gstvideofilter.h>
#include <gst/video/video.h>

#include "lavin/lavin.h"

#define GST_TYPE_LAVIN_FILTER (gst_lavin_filter_get_type())
G_DECLARE_FINAL_TYPE(GstLavinFilter, gst_lavin_filter, GST, LAVIN_FILTER, GstVideoFilter)

struct _GstLavinFilter {
  GstVideoFilter parent;

  /* Properties, under the object's lock. */
  gchar* bundle;
  gchar* task;
  gchar* backend;
  gchar* library;
  gint steps;
  gint threads;

  lavin_model* model; /* NULL while stopped */
};

G_DEFINE_TYPE(GstLavinFilter, gst_lavin_filter, GST_TYPE_VIDEO_FILTER)

GST_DEBUG_CATEGORY_STATIC(lavin_filter_debug);
#define GST_CAT_DEFAULT lavin_filter_debug

#define CAPS GST_VIDEO_CAPS_MAKE("RGB")

enum { PROP_0, PROP_BUNDLE, PROP_TASK, PROP_STEPS, PROP_BACKEND, PROP_LIBRARY, PROP_THREADS };

/* Where a property of text is kept; NULL for the numbers. */
static gchar** text_of(GstLavinFilter* self, guint id) {
  switch (id) {
    case PROP_BUNDLE:
      return &self->bundle;
    case PROP_TASK:
      return &self->task;
    case PROP_BACKEND:
      return &self->backend;
    case PROP_LIBRARY:
      return &self->library;
    default:
      return NULL;
  }
}

/* Where a property of a number is kept; NULL for the texts. */
static gint* number_of(GstLavinFilter* self, guint id) {
  switch (id) {
    case PROP_STEPS:
      return &self->steps;
    case PROP_THREADS:
      return &self->threads;
    default:
      return NULL;
  }
}

static void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  GstLavinFilter* self = GST_LAVIN_FILTER(object);
  gchar** text = text_of(self, id);
  gint* number = number_of(self, id);
  GST_OBJECT_LOCK(self);
  if (text != NULL) {
    g_free(*text);
    *text = g_value_dup_string(value);
  } else if (number != NULL) {
    *number = g_value_get_int(value);
  } else {
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  }
  GST_OBJECT_UNLOCK(self);
}

static void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  GstLavinFilter* self = GST_LAVIN_FILTER(object);
  gchar** text = text_of(self, id);
  gint* number = number_of(self, id);
  GST_OBJECT_LOCK(self);
  if (text != NULL) {
    g_value_set_string(value, *text);
  } else if (number != NULL) {
    g_value_set_int(value, *number);
  } else {
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  }
  GST_OBJECT_UNLOCK(self);
}

static void finalize(GObject* object) {
  GstLavinFilter* self = GST_LAVIN_FILTER(object);
  g_free(self->bundle);
  g_free(self->task);
  g_free(self->backend);
  g_free(self->library);
  G_OBJECT_CLASS(gst_lavin_filter_parent_class)->finalize(object);
}

/* Whether the model has that task; posts an error that lists the tasks if not. */
static gboolean knows_task(GstLavinFilter* self, const gchar* task) {
  GString* names = g_string_new(NULL);
  const char* name;
  size_t index;
  for (index = 0; (name = lavin_task_name(self->model, index)) != NULL; index++) {
    if (g_strcmp0(name, task) == 0) {
      g_string_free(names, TRUE);
      return TRUE;
    }
    g_string_append_printf(names, "%s%s", index > 0 ? ", " : "", name);
  }
  GST_ELEMENT_ERROR(self, RESOURCE, SETTINGS,
                    ("The bundle has no task '%s'; set the property task to one of: %s.",
                     task != NULL ? task : "", names->str),
                    (NULL));
  g_string_free(names, TRUE);
  return FALSE;
}

static gboolean stop(GstBaseTransform* transform) {
  GstLavinFilter* self = GST_LAVIN_FILTER(transform);
  lavin_free(self->model);
  self->model = NULL;
  return TRUE;
}

static gboolean start(GstBaseTransform* transform) {
  GstLavinFilter* self = GST_LAVIN_FILTER(transform);
  lavin_options options = {sizeof options, NULL, NULL, NULL, 0, NULL};
  gchar *bundle, *task, *backend, *library;
  gboolean ready = FALSE;

  GST_OBJECT_LOCK(self);
  bundle = g_strdup(self->bundle);
  task = g_strdup(self->task);
  options.backend = backend = g_strdup(self->backend);
  options.library = library = g_strdup(self->library);
  options.threads = self->threads;
  GST_OBJECT_UNLOCK(self);

  if (bundle == NULL) {
    GST_ELEMENT_ERROR(self, RESOURCE, SETTINGS,
                      ("No bundle is given; set the property bundle to a path."), (NULL));
  } else if (lavin_load(bundle, &options, &self->model) != LAVIN_OK) {
    GST_ELEMENT_ERROR(self, RESOURCE, OPEN_READ, ("%s", lavin_last_error(NULL)), (NULL));
  } else {
    GST_INFO_OBJECT(self, "%s", lavin_describe(self->model));
    ready = knows_task(self, task);
    if (!ready) stop(transform); /* the base class does not stop what did not start */
  }
  g_free(bundle);
  g_free(task);
  g_free(backend);
  g_free(library);
  return ready;
}

static GstFlowReturn transform_frame_ip(GstVideoFilter* filter, GstVideoFrame* frame) {
  GstLavinFilter* self = GST_LAVIN_FILTER(filter);
  lavin_request request = {.struct_size = sizeof request};
  lavin_image image = {.struct_size = sizeof image};
  lavin_status status;
  gchar* task;

  GST_OBJECT_LOCK(self);
  request.task = task = g_strdup(self->task);
  request.steps = self->steps;
  GST_OBJECT_UNLOCK(self);

  image.width = (uint32_t)GST_VIDEO_FRAME_WIDTH(frame);
  image.height = (uint32_t)GST_VIDEO_FRAME_HEIGHT(frame);
  image.stride = (size_t)GST_VIDEO_FRAME_PLANE_STRIDE(frame, 0);
  image.data = GST_VIDEO_FRAME_PLANE_DATA(frame, 0);
  status = lavin_run_request(self->model, &request, &image, &image, NULL);
  g_free(task);
  if (status == LAVIN_OK) return GST_FLOW_OK;
  GST_ELEMENT_ERROR(self, STREAM, FAILED, ("%s", lavin_last_error(self->model)), (NULL));
  return GST_FLOW_ERROR;
}

/* Frames that are to be shown turned would be answered lying on their side: refused. */
static gboolean sink_event(GstBaseTransform* transform, GstEvent* event) {
  gchar* orientation = NULL;
  GstTagList* tags = NULL;
  gboolean turned;
  if (GST_EVENT_TYPE(event) == GST_EVENT_TAG) {
    gst_event_parse_tag(event, &tags);
    gst_tag_list_get_string(tags, GST_TAG_IMAGE_ORIENTATION, &orientation);
  }
  turned = orientation != NULL && g_strcmp0(orientation, "rotate-0") != 0;
  if (turned) {
    GST_ELEMENT_ERROR(transform, STREAM, FORMAT,
                      ("The frames are to be shown as %s, and upright ones are answered; put "
                       "videoflip video-direction=auto before lavinfilter.",
                       orientation),
                      (NULL));
  }
  g_free(orientation);
  if (!turned) {
    return GST_BASE_TRANSFORM_CLASS(gst_lavin_filter_parent_class)->sink_event(transform, event);
  }
  gst_event_unref(event);
  return FALSE;
}

static void gst_lavin_filter_init(GstLavinFilter* self) {
  /* An object's fields are zero when it is born, which is every default. */
  (void)self;
}

static void install_text(GObjectClass* klass, guint id, const gchar* name, const gchar* nick,
                         const gchar* about, GParamFlags more) {
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | more;
  g_object_class_install_property(klass, id, g_param_spec_string(name, nick, about, NULL, flags));
}

static void install_number(GObjectClass* klass, guint id, const gchar* name, const gchar* nick,
                           const gchar* about, GParamFlags more) {
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | more;
  g_object_class_install_property(klass, id,
                                  g_param_spec_int(name, nick, about, 0, G_MAXINT, 0, flags));
}

static void gst_lavin_filter_class_init(GstLavinFilterClass* klass) {
  GObjectClass* object = G_OBJECT_CLASS(klass);
  GstElementClass* element = GST_ELEMENT_CLASS(klass);
  GstCaps* caps = gst_caps_from_string(CAPS);

  GST_DEBUG_CATEGORY_INIT(lavin_filter_debug, "lavinfilter", 0, "LaVin-DiT");
  object->set_property = set_property;
  object->get_property = get_property;
  object->finalize = finalize;
  install_text(object, PROP_BUNDLE, "bundle", "Bundle",
               "Path of the bundle, a folder NAME.lavin or a stored zip of one",
               GST_PARAM_MUTABLE_READY);
  install_text(object, PROP_TASK, "task", "Task", "Name of a task that is stored in the bundle",
               GST_PARAM_MUTABLE_PLAYING);
  install_number(object, PROP_STEPS, "steps", "Steps",
                 "Model evaluations a frame; 0: the task's or the bundle's default",
                 GST_PARAM_MUTABLE_PLAYING);
  install_text(object, PROP_BACKEND, "backend", "Back end",
               "auto, onnxruntime or tensorrt; not set: auto", GST_PARAM_MUTABLE_READY);
  install_text(object, PROP_LIBRARY, "library", "Library",
               "File of ONNX Runtime's shared library; not set: the environment variable "
               "LAVIN_ONNXRUNTIME, else the system's",
               GST_PARAM_MUTABLE_READY);
  install_number(object, PROP_THREADS, "threads", "Threads",
                 "Threads of a CPU back end; 0: the physical cores", GST_PARAM_MUTABLE_READY);

  gst_element_class_set_static_metadata(
      element, "LaVin-DiT filter", "Filter/Effect/Video",
      "Answers every frame by a task of a LaVin-DiT bundle",
      "The lavin_deploy authors <lavin-deploy@users.noreply.github.com>");
  gst_element_class_add_pad_template(
      element, gst_pad_template_new("sink", GST_PAD_SINK, GST_PAD_ALWAYS, caps));
  gst_element_class_add_pad_template(
      element, gst_pad_template_new("src", GST_PAD_SRC, GST_PAD_ALWAYS, caps));
  gst_caps_unref(caps);

  GST_BASE_TRANSFORM_CLASS(klass)->start = start;
  GST_BASE_TRANSFORM_CLASS(klass)->stop = stop;
  GST_BASE_TRANSFORM_CLASS(klass)->sink_event = sink_event;
  GST_VIDEO_FILTER_CLASS(klass)->transform_frame_ip = transform_frame_ip;
}

static gboolean plugin_init(GstPlugin* plugin) {
  return gst_element_register(plugin, "lavinfilter", GST_RANK_NONE, GST_TYPE_LAVIN_FILTER);
}

#define PACKAGE "lavin" /* which GST_PLUGIN_DEFINE reads */
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, lavin,
                  "LaVin-DiT: vision tasks from example pairs", plugin_init, LAVIN_PLUGIN_VERSION,
                  "Apache-2.0", "lavin", "lavin_deploy")
