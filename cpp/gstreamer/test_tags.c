/* Sends one frame and an orientation's tag through lavinfilter; usage: BUNDLE TASK ORIENTATION. */
#include <gst/gst.h>

static GstPadProbeReturn tag_first(GstPad* pad, GstPadProbeInfo* info, gpointer orientation) {
  (void)info;
  gst_pad_push_event(pad, gst_event_new_tag(gst_tag_list_new(GST_TAG_IMAGE_ORIENTATION,
                                                             (const gchar*)orientation, NULL)));
  return GST_PAD_PROBE_REMOVE;
}

int main(int count, char** words) {
  GstMessage* message;
  GstElement *pipeline, *source;
  GstPad* pad;
  int status = 0;
  gchar* text;
  if (count != 4) return 2;
  gst_init(NULL, NULL);
  text = g_strdup_printf(
      "videotestsrc name=source num-buffers=1 ! video/x-raw,format=RGB,width=64,height=48"
      " ! lavinfilter bundle=\"%s\" task=%s ! fakesink",
      words[1], words[2]);
  pipeline = gst_parse_launch(text, NULL);
  g_free(text);
  source = gst_bin_get_by_name(GST_BIN(pipeline), "source");
  pad = gst_element_get_static_pad(source, "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, tag_first, words[3], NULL);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered(gst_element_get_bus(pipeline), 60 * GST_SECOND,
                                       GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  if (message == NULL || GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError* error = NULL;
    if (message != NULL) gst_message_parse_error(message, &error, NULL);
    g_printerr("%s\n", error != NULL ? error->message : "nothing came in a minute");
    status = 1;
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  return status;
}
