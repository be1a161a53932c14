// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Logging
internal import Passthrough
internal import Seams

/// Connections to the processes of devices that have lost theirs (`reconnect=`).
extension Hotplug {
  /// A device behind a port whose process has ended.
  struct LostDevice {
    let device: Configuration.AssignedDevice
    /// The device number of its port.
    let slot: UInt8
    /// The time of the next attempt in microseconds of the monotonic clock.
    var time: Int64
    /// The text of the last warning, which is not repeated.
    var warning: String?

    /// The time between attempts in microseconds.
    var interval: Int64 { Int64(device.reconnect ?? 1) * 1_000_000 }
  }

  /// Returns the entry for a function that was lost, or nil if Sluice does not connect to its process again.
  func lostDevice(_ function: AssignedFunction<B>) -> LostDevice? {
    guard connector != nil, function.isLost,
      let (device, slot) = zip(devices, builder.devices.guestSlots).first(where: {
        $0.0.reconnect != nil && $0.0.address.description == function.address
      })
    else { return nil }
    var lost = LostDevice(device: device, slot: slot.slot, time: 0)
    lost.time = Clock.microseconds() + lost.interval
    return lost
  }

  /// Tries to connect to the process of each device whose time has come. Removes the devices that are back.
  func reconnect(_ all: inout [LostDevice]) {
    let now = Clock.microseconds()
    for index in all.indices.reversed() where all[index].time <= now && !shutdown.isOver {
      if isBack(&all[index]) {
        all.remove(at: index)
      } else {
        all[index].time = Clock.microseconds() + all[index].interval
      }
    }
  }

  /// Tries to bring a device back. Returns true if the VM has the device.
  private func isBack(_ lost: inout LostDevice) -> Bool {
    let name = lost.device.address.description
    // A client of the control socket can have added it.
    if population.functions.contains(where: { $0.address == name && $0.isOpen }) { return true }
    // The guest switches the slot off first. Another device can have the port.
    guard let connector, let path = lost.device.address.path,
      let port = builder.root.ports.first(where: { $0.slot == lost.slot }), port.isFree
    else { return false }
    do throws(KernelError) {
      let socket = try connector.connect(to: path)
      do throws(RunError) {
        let files = try step(RunError.descriptor) { () throws(DescriptorProblem) in
          try HostFiles([.server(0)], [socket], for: lost.device)
        }
        try enter(open(lost.device, for: port, files: files))
        return true
      } catch { warn(&lost, "\(error)") }
    } catch  where error.errno == KernelError.noEntry || error.errno == KernelError.connectionRefused {
      // The process has not started again.
    } catch { warn(&lost, "device \(name): \(error)") }
    return false
  }

  private func warn(_ lost: inout LostDevice, _ text: String) {
    guard lost.warning != text else { return }
    lost.warning = text
    eventLog.log.warning("\(text); Sluice tries again every \(lost.interval / 1_000_000) s")
  }

  /// Returns the milliseconds until the next attempt, or -1 for none.
  static func timeout(_ all: [LostDevice]) -> Int32 {
    guard let next = all.map(\.time).min() else { return -1 }
    return Int32(clamping: max(0, (next - Clock.microseconds() + 999) / 1000))
  }
}
