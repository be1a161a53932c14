// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A run of cases on a device of this machine. The device has its former driver after the run.
struct HereRun {
  let device: HereDevice
  let host: HereHost
  let manifest: Manifest

  /// Binds the device to vfio-pci, runs the cases, and binds the former driver.
  func run(_ cases: [HereCase], report: inout Report) throws {
    let signals = EndSignals()
    _ = try? Command.output(["modprobe", "vfio-pci"])  // 'sluice bind' reports a missing driver
    var failure: (any Error)?
    do {
      try Command.output([host.sluice, "bind", device.address])
      let now = try host.report(device.address)
      guard now.ready else { throw LabError("device \(device.address): \(now.advice)") }
      let shared = Mutex(report)
      let runner = L1Runner(
        manifest: manifest, vmm: "sluice", reports: Reports { event in shared.withLock { $0.add(event) } })
      for one in cases where !signals.hasArrived { runner.run(one.asCase(device)) }
      report = shared.withLock { $0 }
    } catch { failure = error }
    signals.stopEndingPrograms()
    do { try restore() } catch { failure = failure ?? error }
    let now = HostDevice(device.address).driver
    let words = "bound to \(now ?? "no driver")"
    if now == device.driver {
      printLine("lab: \(device.address): \(words), as before the run")
    } else {
      failure =
        failure
        ?? LabError(
          "device \(device.address): \(words), before the run to \(device.driver ?? "no driver"); "
            + "type 'sudo sluice unbind \(device.address)'")
    }
    if let failure { throw failure }
    if signals.hasArrived { throw LabError("here: ended by signal \(signals.number)") }
  }

  /// Binds the device's former driver.
  private func restore() throws {
    let current = HostDevice(device.address)
    guard let driver = device.driver else {
      let path = "/sys/bus/pci/devices/\(device.address)"
      try HostDevice.write("\n", to: path + "/driver_override")
      if current.driver != nil { try HostDevice.write(device.address, to: path + "/driver/unbind") }
      return
    }
    guard current.driver != driver else { return }
    try Command.output([host.sluice, "unbind", device.address])
    guard current.driver != driver else { return }
    // Another driver matches the device too.
    try current.bind(to: driver)
    try HostDevice.write("\n", to: "/sys/bus/pci/devices/\(device.address)/driver_override")
  }
}

/// The signals that end a run: SIGINT, SIGTERM and SIGHUP. The present case fails, because its programs end, and no
/// further case starts.
struct EndSignals {
  /// The number of the first signal, or 0. The handler writes it. Every thread may read it.
  private static let arrived = Atomic<Int32>(0)

  /// True if programs may run again after a signal. The run's thread sets it. Held while programs are ended, so that
  /// no program is ended afterwards.
  private static let isOver = Mutex(false)

  /// Handles the signals from now on. A program that a case starts has the default actions again (execve(2)).
  init() {
    _ = Self.arrived.load(ordering: .relaxed)  // initialized before the handler uses it
    for number in [SIGINT, SIGTERM, SIGHUP] {
      _ = signal(number) { number in
        _ = EndSignals.arrived.compareExchange(expected: 0, desired: number, ordering: .relaxed)
      }
    }
    Foundation.Thread.detachNewThread {
      var isOver = false
      while !isOver {
        usleep(100_000)
        isOver = Self.isOver.withLock { isOver in
          if !isOver, Self.arrived.load(ordering: .relaxed) != 0 { Self.endPrograms() }
          return isOver
        }
      }
    }
  }

  /// Allows the programs that restore the device, also after a signal.
  func stopEndingPrograms() { Self.isOver.withLock { $0 = true } }

  var number: Int32 { Self.arrived.load(ordering: .relaxed) }
  var hasArrived: Bool { number != 0 }

  /// Ends the programs that this process has started. Sluice releases its device first.
  private static func endPrograms() {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []  // it exists
    for task in tasks {
      // A thread that has ended has no children.
      let list = (try? String(contentsOfFile: "/proc/self/task/\(task)/children", encoding: .utf8)) ?? ""
      for child in list.split(separator: " ").compactMap({ Int32($0) }) { kill(child, SIGTERM) }
    }
  }
}
