// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Logging
internal import Passthrough
internal import Seams

/// A virtual machine with its threads and devices. Its guest runs from ``start()`` to ``stop()``; after that the devices
/// have to be given back.
struct VM<B: HostBackend> {
  private let builder: MachineBuilder<B>
  private let threads: VMThreads<B>
  private let shutdown: ShutdownRequest
  private let eventLog: EventLog

  /// What a VM is doing.
  struct Status {
    /// How it ended, or nil.
    let outcome: Outcome?
    /// Its functions.
    let functions: [FunctionStatus]
  }

  /// Makes the threads of a machine that has been put together. They wait.
  init(
    _ builder: MachineBuilder<B>, _ configuration: Configuration, eventLog: EventLog,
    shutdown: ShutdownRequest
  ) throws(RunError) {
    self.builder = builder
    self.eventLog = eventLog
    self.shutdown = shutdown
    threads = try VMThreads(builder, configuration, eventLog: eventLog, shutdown: shutdown)
  }

  /// The serial port.
  var serial: Serial { builder.serial }

  /// The assigned functions.
  var functions: [AssignedFunction<B>] { builder.devices.functions }

  /// The status now.
  var status: Status {
    Status(outcome: shutdown.outcome, functions: functions.map { FunctionStatus($0) })
  }

  /// Confines the calling thread and lets the guest run.
  func start() throws(KernelError) { try threads.start() }

  /// Does what the host's kernel asks for about a device. A failure ends the VM.
  func attend(to notice: DeviceNotification, of function: Int) {
    do throws(FunctionError) { try functions[function].attend(to: notice) } catch {
      shutdown.end(.failure(.function(error)))
    }
  }

  /// Takes a device from the guest and gives it back to the host. A failure ends the VM.
  ///
  /// - Returns: False if the VM has no such device.
  func remove(_ address: String) -> Bool {
    guard let function = functions.first(where: { $0.address == address }) else { return false }
    do throws(FunctionError) { try function.remove() } catch { shutdown.end(.failure(.function(error))) }
    return true
  }

  /// Takes all vCPUs out of the guest for good.
  func stop() {
    for function in functions { function.stopWaiting() }
    threads.stop()
  }

  /// Closes the gates, gives the devices back and frees guest RAM. No vCPU runs.
  ///
  /// - Returns: What failed.
  func release() -> [FunctionError] {
    var failures: [FunctionError] = []
    for function in functions {
      do throws(FunctionError) { try function.quiesce() } catch { failures.append(error) }
    }
    return failures + threads.releaseDevices(meanwhile: freeMemory)
  }

  /// Unpins and frees guest RAM. No device is a bus master any more; one whose gate could not be closed meets the IOMMU.
  private func freeMemory() {
    func warn(_ cause: String) {
      eventLog.log.warning("guest RAM is there until the end of the process: \(cause)")
    }
    do throws(OperationError) { try builder.devices.dma?.unpinMemory(unmapped: eventLog.unpinned) } catch {
      return warn(error.description)
    }
    do throws(KernelError) { try builder.memory.discard() } catch { warn(error.description) }
  }
}

/// The state of one function.
struct FunctionStatus {
  /// The address on the host.
  let address: String
  let statistics: FunctionStatistics

  init(_ function: AssignedFunction<some Backend>) {
    address = function.address
    statistics = function.statistics
  }
}
